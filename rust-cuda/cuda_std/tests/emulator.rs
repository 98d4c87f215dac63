//! The emulator: what runs, and what it refuses.

use std::cell::Cell;
use std::rc::Rc;

use cuda_std::emulator::{
    Access, Collective, CopyTiming, EmulationError, GlobalRange, Grid, LaneOrder, Lanes, POISON,
    SHARED_BASE, Space, ThreadPosition, launch,
};
use cuda_std::shared::{SharedAddress, dynamic_shared_mem};
use cuda_std::{async_copy, global, thread, warp};

const ALL: u32 = u32::MAX;

/// What each thread of a launch computes, by block and thread.
fn results(grid: &Grid, kernel: impl Fn() -> u32 + 'static) -> Result<Vec<u32>, EmulationError> {
    let per_block = grid.threads_per_block;
    let cells: Rc<[Cell<u32>]> =
        (0..grid.blocks * per_block).map(|_| Cell::new(0xDEAD_BEEF)).collect();
    let kept = Rc::clone(&cells);
    launch(grid, move || {
        let value = kernel();
        cells[(thread::block_idx_x() * per_block + thread::thread_idx_x()) as usize].set(value);
    })?;
    Ok(kept.iter().map(Cell::get).collect())
}

fn all_orders(grid: &Grid) -> [Grid; 4] {
    [
        (LaneOrder::Ascending, 0),
        (LaneOrder::Descending, 0),
        (LaneOrder::Ascending, 3),
        (LaneOrder::Descending, 3),
    ]
    .map(|(lane_order, warp_lead)| Grid { lane_order, warp_lead, ..grid.clone() })
}

fn grid(blocks: u32, threads_per_block: u32) -> Grid {
    Grid { blocks, threads_per_block, shared_bytes: 256, ..Grid::default() }
}

fn at(block: u32, thread: u32) -> ThreadPosition {
    ThreadPosition { block, thread }
}

#[test]
fn threads_know_where_they_are() {
    let found = results(&grid(3, 64), || {
        assert_eq!((thread::grid_dim_x(), thread::block_dim_x()), (3, 64));
        thread::block_idx_x() << 16 | thread::thread_idx_x() << 8 | warp::lane_id()
    })
    .unwrap();
    for (number, value) in found.into_iter().enumerate() {
        let number = number as u32;
        assert_eq!(value, ((number / 64) << 16) | ((number % 64) << 8) | (number % 32));
    }
}

#[test]
fn a_ballot_is_of_the_lanes_of_its_warp() {
    for grid in all_orders(&grid(2, 64)) {
        let found = results(&grid, || {
            let thread = thread::thread_idx_x();
            let first = warp::warp_vote_ballot(ALL, thread.is_multiple_of(3));
            let odd_lanes = 0xAAAA_AAAA;
            if thread % 2 == 1 { warp::warp_vote_ballot(odd_lanes, true) ^ first } else { first }
        })
        .unwrap();
        for (number, value) in found.into_iter().enumerate() {
            let warp = number % 64 / 32 * 32;
            let multiples = (0..32).filter(|lane| (warp + lane).is_multiple_of(3));
            let first = multiples.fold(0, |mask, lane| mask | 1 << lane);
            assert_eq!(value, if number % 2 == 1 { first ^ 0xAAAA_AAAA } else { first });
        }
    }
}

#[test]
fn a_shuffle_takes_the_value_of_the_lane_that_is_named() {
    for grid in all_orders(&grid(1, 64)) {
        let found = results(&grid, || {
            let thread = thread::thread_idx_x();
            warp::warp_shuffle_idx(ALL, 1000 + thread, thread + 5)
        })
        .unwrap();
        for (number, value) in found.into_iter().enumerate() {
            assert_eq!(value as usize, 1000 + number / 32 * 32 + (number + 5) % 32);
        }
    }
}

#[test]
fn lanes_before_this_one() {
    let found = results(&grid(1, 32), warp::lane_mask_lt).unwrap();
    assert!(found.iter().enumerate().all(|(lane, mask)| mask.count_ones() as usize == lane));
    assert_eq!(found[31], 0x7FFF_FFFF);
}

/// Each thread gives its number to the thread opposite, through shared memory.
fn swap_through_shared(barrier: impl Fn()) -> u32 {
    let (thread, last) = (thread::thread_idx_x(), thread::block_dim_x() - 1);
    // SAFETY: the shared memory has four bytes for each thread.
    unsafe { SharedAddress::base().offset(4 * thread).store_u32(thread) };
    barrier();
    // SAFETY: as above.
    unsafe { SharedAddress::base().offset(4 * (last - thread)).load_u32() }
}

#[test]
fn a_barrier_orders_accesses_of_different_warps() {
    for grid in all_orders(&grid(2, 64)) {
        let found = results(&grid, || swap_through_shared(thread::sync_threads)).unwrap();
        assert!(
            found.iter().enumerate().all(|(thread, &value)| value as usize == 63 - thread % 64)
        );
    }
}

#[test]
fn without_a_barrier_half_of_the_threads_come_too_early() {
    let poison = u32::from_ne_bytes([POISON; 4]);
    for grid in all_orders(&grid(1, 64)) {
        let found = results(&grid, || swap_through_shared(|| ())).unwrap();
        assert_eq!(found.iter().filter(|&&value| value == poison).count(), 32);
    }
}

#[test]
fn a_barrier_of_the_warp_does_not_hold_up_a_warp_that_leads() {
    let poison = u32::from_ne_bytes([POISON; 4]);
    for (warp_lead, early) in [(0, 0), (1, 32)] {
        let grid = Grid { warp_lead, ..grid(1, 64) };
        let found = results(&grid, || swap_through_shared(|| warp::sync_warp(ALL))).unwrap();
        assert_eq!(found.iter().filter(|&&value| value == poison).count(), early);
    }
}

#[test]
fn blocks_are_in_flight_together_and_have_shared_memory_of_their_own() {
    let mut counter = [0u32];
    let address = counter.as_mut_ptr();
    let found = results(&grid(2, 32), move || {
        let mine = SharedAddress::base().offset(4 * thread::thread_idx_x());
        // SAFETY: within the shared memory, which has four bytes for each thread.
        unsafe { mine.store_u32(thread::block_idx_x()) };
        // SAFETY: the counter outlives the launch.
        unsafe { global::atomic_add_u32(address, 1) };
        warp::sync_warp(ALL);
        // SAFETY: as above.
        let seen = unsafe { global::load_u32_volatile(address) };
        // SAFETY: as above.
        unsafe { mine.load_u32() << 16 | seen }
    })
    .unwrap();
    // The first thread block goes on when the second one has begun.
    assert_eq!(found[0], 64);
    assert_eq!(found[32], 1 << 16 | 64);
}

#[test]
fn generic_pointers_see_the_same_shared_memory() {
    let found = results(&grid(1, 32), || {
        let base = dynamic_shared_mem::<u32>();
        assert!(base.addr().is_multiple_of(16));
        let lane = thread::thread_idx_x();
        // SAFETY: within the shared memory, which has four bytes for each thread.
        unsafe { base.wrapping_add(lane as usize).write(lane * 7) };
        // SAFETY: as above.
        unsafe { SharedAddress::base().offset(4 * lane).load_u32() }
    })
    .unwrap();
    assert!(found.iter().enumerate().all(|(lane, &value)| value as usize == lane * 7));
}

#[test]
fn a_whole_warp_may_end_early_but_not_one_that_a_barrier_needs() {
    let early = |threads: u32| {
        move || {
            if thread::thread_idx_x() >= threads {
                return 1;
            }
            warp::warp_vote_ballot(ALL, true)
        }
    };
    let found = results(&grid(1, 64), early(32)).unwrap();
    assert_eq!((found[0], found[63]), (ALL, 1));

    let error = launch(&grid(1, 64), || {
        if thread::thread_idx_x() < 32 {
            thread::sync_threads();
        }
    })
    .unwrap_err();
    let waiting = Lanes { warp: 0, lanes: ALL, waiting_at: Some(Collective::SyncThreads) };
    let missing = Lanes { warp: 1, lanes: ALL, waiting_at: None };
    assert_eq!(error, EmulationError::Divergence { block: 0, waiting, missing });
}

#[test]
fn a_lane_that_has_ended_is_named_by_those_who_wait_for_it() {
    let error = launch(&grid(2, 64), || {
        if thread::block_idx_x() == 1 && thread::thread_idx_x() == 37 {
            return;
        }
        warp::warp_vote_ballot(ALL, true);
    })
    .unwrap_err();
    let collective = Collective::Ballot { mask: ALL };
    let waiting = Lanes { warp: 1, lanes: !(1 << 5), waiting_at: Some(collective) };
    let missing = Lanes { warp: 1, lanes: 1 << 5, waiting_at: None };
    assert_eq!(error, EmulationError::Divergence { block: 1, waiting, missing });
    assert_eq!(
        error.to_string(),
        "block 1: lanes 0xffffffdf of warp 1 are at warp_vote_ballot with mask 0xffffffff, \
         but lanes 0x00000020 of warp 1 have ended, so that nobody can go on"
    );
}

#[test]
fn different_collectives_of_a_warp_are_divergence() {
    let error = launch(&grid(1, 32), || {
        if warp::lane_id() < 16 {
            warp::warp_vote_ballot(ALL, true);
        } else {
            warp::sync_warp(ALL);
        }
    })
    .unwrap_err();
    let ballot = Some(Collective::Ballot { mask: ALL });
    let sync = Some(Collective::SyncWarp { mask: ALL });
    let waiting = Lanes { warp: 0, lanes: 0xFFFF, waiting_at: ballot };
    let missing = Lanes { warp: 0, lanes: 0xFFFF_0000, waiting_at: sync };
    assert_eq!(error, EmulationError::Divergence { block: 0, waiting, missing });

    let masks = launch(&grid(1, 32), || {
        warp::sync_warp(if warp::lane_id() == 0 { ALL } else { ALL - 1 });
    });
    let Err(EmulationError::Divergence { waiting, .. }) = masks else { panic!("{masks:?}") };
    assert_eq!(waiting, Lanes { warp: 0, lanes: 1, waiting_at: sync });
}

#[test]
fn lanes_take_part_in_what_they_call_and_ask_only_those_who_do() {
    let foreign = launch(&grid(1, 32), || warp::sync_warp(0xFF));
    let collective = Collective::SyncWarp { mask: 0xFF };
    assert_eq!(foreign, Err(EmulationError::ForeignMask { thread: at(0, 8), collective }));

    let source = launch(&grid(1, 8), || {
        warp::warp_shuffle_idx(0xFF, 0, warp::lane_id() + 3);
    });
    let collective = Collective::Shuffle { mask: 0xFF };
    let expected = EmulationError::ShuffleSource { thread: at(0, 5), collective, source_lane: 8 };
    assert_eq!(source, Err(expected));
}

#[test]
fn shared_memory_ends_where_it_ends() {
    let access = |offset: u32| {
        launch(&grid(1, 32), move || {
            if warp::lane_id() == 3 {
                // SAFETY: the emulator checks it.
                unsafe { SharedAddress::base().offset(offset).load_u32() };
            }
        })
    };
    assert_eq!(access(0), Ok(()));
    assert_eq!(access(252), Ok(()));
    for offset in [256, 0u32.wrapping_sub(4), 1 << 30] {
        let error = EmulationError::OutOfRange {
            thread: at(0, 3),
            space: Space::Shared,
            access: Access::Read,
            address: SHARED_BASE.wrapping_add(offset) as usize,
            bytes: 4,
        };
        assert_eq!(access(offset), Err(error));
    }
    assert!(matches!(access(254), Err(EmulationError::Misaligned { .. })));

    // SAFETY: the emulator checks it.
    let store = launch(&grid(1, 32), || unsafe {
        SharedAddress::base().offset(16 * warp::lane_id()).store_u32x4([0; 4]);
    });
    let Err(EmulationError::OutOfRange { thread, access, .. }) = store else { panic!("{store:?}") };
    assert_eq!((thread, access), (at(0, 16), Access::Write));
}

#[test]
fn global_memory_is_what_was_registered() {
    let input: Vec<u32> = (0..8).collect();
    let mut output = vec![0u32; 8];
    let ranges = vec![GlobalRange::readable(&input), GlobalRange::writable(&mut output)];
    let checked = Grid { threads_per_block: 8, global: Some(ranges), ..Grid::default() };
    let (from, to) = (input.as_ptr(), output.as_mut_ptr());
    // SAFETY: every lane has a value in both; what is outside, the emulator refuses.
    let copy = move |skip: usize| {
        let lane = thread::thread_idx_x() as usize;
        // SAFETY: the emulator refuses what is outside of the eight values.
        let value = unsafe { global::load_u32(from.wrapping_add(lane + skip)) };
        // SAFETY: every lane has a value.
        unsafe { global::store_u32(to.wrapping_add(lane), value) };
    };
    launch(&checked, move || copy(0)).unwrap();
    assert_eq!(output, input);

    let beyond = EmulationError::OutOfRange {
        thread: at(0, 7),
        space: Space::Global,
        access: Access::Read,
        address: from.addr() + 32,
        bytes: 4,
    };
    assert_eq!(launch(&checked, move || copy(1)), Err(beyond));

    // SAFETY: the emulator refuses the store.
    let constant = launch(&checked, move || unsafe { global::store_u8(from.cast_mut().cast(), 1) });
    let Err(EmulationError::OutOfRange { access, address, bytes, .. }) = constant else {
        panic!("{constant:?}")
    };
    assert_eq!((access, address, bytes), (Access::Write, from.addr(), 1));

    // SAFETY: the emulator refuses the load.
    let odd = launch(&checked, move || unsafe {
        global::load_u16(from.cast::<u8>().wrapping_add(1).cast());
    });
    assert!(matches!(odd, Err(EmulationError::Misaligned { bytes: 2, .. })), "{odd:?}");
}

#[repr(align(16))]
struct Source([u8; 48]);

fn source() -> Rc<Source> {
    Rc::new(Source(std::array::from_fn(|at| at as u8 + 1)))
}

fn one_lane(copy_timing: CopyTiming) -> Grid {
    Grid { threads_per_block: 1, shared_bytes: 64, copy_timing, ..Grid::default() }
}

fn shared_byte(offset: u32) -> u32 {
    // SAFETY: the shared memory has 64 bytes.
    let word = unsafe { SharedAddress::base().offset(offset / 4 * 4).load_u32() };
    u32::from(word.to_ne_bytes()[offset as usize % 4])
}

#[test]
fn a_copy_that_is_not_waited_for_leaves_what_was_there() {
    let source = source();
    let copy_then = |wait: fn(), timing: CopyTiming| {
        let source = Rc::clone(&source);
        let found = results(&one_lane(timing), move || {
            for number in 0..3 {
                let target = SharedAddress::base().offset(16 * number);
                let from = source.0[16 * number as usize..].as_ptr();
                // SAFETY: the source has 48 bytes and outlives the launch.
                unsafe { async_copy::copy_16_partial(target, from, 16) };
                if number < 2 {
                    async_copy::commit();
                }
            }
            wait();
            shared_byte(0) << 16 | shared_byte(16) << 8 | shared_byte(32)
        });
        found.unwrap()[0]
    };
    let stale = u32::from(POISON);
    assert_eq!(copy_then(|| (), CopyTiming::Late), stale << 16 | stale << 8 | stale);
    // One group may be pending; the third copy is in none.
    assert_eq!(copy_then(async_copy::wait::<1>, CopyTiming::Late), 1 << 16 | stale << 8 | stale);
    assert_eq!(copy_then(async_copy::wait::<0>, CopyTiming::Late), 1 << 16 | 17 << 8 | stale);
    let all = || {
        async_copy::commit();
        async_copy::wait::<0>();
    };
    assert_eq!(copy_then(all, CopyTiming::Late), 1 << 16 | 17 << 8 | 33);
    assert_eq!(copy_then(|| (), CopyTiming::Early), 1 << 16 | 17 << 8 | 33);
}

#[test]
fn a_partial_copy_fills_up_with_zeros() {
    let source = source();
    let found = results(&one_lane(CopyTiming::Late), move || {
        // SAFETY: the source has 48 bytes and outlives the launch.
        unsafe { async_copy::copy_16_partial(SharedAddress::base(), source.0.as_ptr(), 5) };
        async_copy::commit();
        async_copy::wait::<0>();
        shared_byte(4) << 16 | shared_byte(5) << 8 | shared_byte(15)
    });
    assert_eq!(found.unwrap(), [5 << 16]);
}

#[test]
fn copies_are_checked_when_they_are_issued() {
    let source = source();
    let ranges = vec![GlobalRange::readable(&source.0[..16])];
    let grid = Grid { global: Some(ranges), ..one_lane(CopyTiming::Late) };
    let copy = |target: u32, from: usize, bytes: u32| {
        let source = Rc::clone(&source);
        launch(&grid, move || {
            let target = SharedAddress::base().offset(target);
            let from = source.0.as_ptr().wrapping_add(from);
            // SAFETY: the emulator refuses what is outside.
            unsafe { async_copy::copy_16_partial(target, from, bytes) };
        })
    };
    assert_eq!(copy(48, 0, 16), Ok(()));
    assert_eq!(copy(0, 32, 0), Ok(()), "no bytes are read");
    let space_of = |result| match result {
        Err(EmulationError::OutOfRange { space, .. }) => Some(space),
        _ => None,
    };
    assert_eq!(space_of(copy(0, 16, 1)), Some(Space::Global));
    assert_eq!(space_of(copy(64, 0, 16)), Some(Space::Shared));
    assert!(matches!(copy(8, 0, 16), Err(EmulationError::Misaligned { space: Space::Shared, .. })));
    assert!(matches!(copy(0, 8, 8), Err(EmulationError::Misaligned { space: Space::Global, .. })));
    assert_eq!(copy(0, 0, 17), Err(EmulationError::CopySize { thread: at(0, 0), bytes: 17 }));
}

#[test]
fn a_panic_names_its_thread_and_the_next_launch_is_unharmed() {
    let error = launch(&grid(2, 64), || {
        warp::sync_warp(ALL);
        assert!(thread::thread_idx_x() != 40, "thread forty");
        thread::sync_threads();
    });
    let message = "thread forty".to_owned();
    assert_eq!(error, Err(EmulationError::Panic { thread: at(0, 40), message }));
    assert_eq!(launch(&grid(2, 64), thread::sync_threads), Ok(()));
}

#[test]
fn grids_without_threads_and_launches_within_launches_are_refused() {
    for (blocks, threads_per_block) in [(0, 32), (1, 0), (1, 1025)] {
        let error = EmulationError::Grid { blocks, threads_per_block };
        assert_eq!(launch(&grid(blocks, threads_per_block), || ()), Err(error));
    }
    let nested = results(&grid(1, 1), || {
        u32::from(launch(&Grid::default(), || ()) == Err(EmulationError::Nested))
    });
    assert_eq!(nested.unwrap(), [1]);
}
