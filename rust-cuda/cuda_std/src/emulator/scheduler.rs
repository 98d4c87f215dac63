//! Lets threads run in turn, and completes their collectives.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

use super::LaneOrder;
use super::context::{Active, Entered, Request};
use super::error::{Collective, EmulationError, Lanes, ThreadPosition};
use crate::warp::WARP_SIZE;

/// Bytes of a thread's stack: plenty for kernels, which have none to speak of on hardware.
const STACK_BYTES: usize = 256 << 10;

/// Runs all threads of a launch until they have ended.
pub(super) fn run(entered: &Entered, kernel: Rc<dyn Fn()>) -> Result<(), EmulationError> {
    let active = &entered.0;
    let mut blocks = (0..active.grid.blocks)
        .map(|number| Block::new(active, number, &kernel))
        .collect::<Result<Vec<_>, _>>()?;
    while !blocks.is_empty() {
        for block in &mut blocks {
            block.run_ready(active)?;
            block.complete_collectives()?;
        }
        blocks.retain(|block| !block.has_ended());
    }
    Ok(())
}

struct Block {
    number: u32,
    threads: Vec<Thread>,
}

struct Thread {
    coroutine: Coroutine<u32, Request, ()>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// May go on, with this answer to its last request.
    Ready(u32),
    Waiting(Request),
    Ended,
}

impl Thread {
    fn new(
        active: &Rc<Active>,
        position: ThreadPosition,
        kernel: &Rc<dyn Fn()>,
    ) -> Result<Self, EmulationError> {
        let stack = DefaultStack::new(STACK_BYTES).map_err(|error| EmulationError::Stack {
            thread: position,
            message: error.to_string(),
        })?;
        let (active, kernel) = (Rc::clone(active), Rc::clone(kernel));
        let coroutine = Coroutine::with_stack(stack, move |yielder, _| {
            // SAFETY: this is the coroutine of `position`, which is the current thread whenever it
            // runs, see `Block::run_ready`; the kernel is called below and has returned, or been
            // unwound, before the yielder goes.
            unsafe { active.set_yielder(yielder) };
            kernel();
        });
        Ok(Self { coroutine, state: State::Ready(0) })
    }

    /// Runs the thread until its next collective or its end.
    fn resume(&mut self, answer: u32, position: ThreadPosition) -> Result<(), EmulationError> {
        let resumed = catch_unwind(AssertUnwindSafe(|| self.coroutine.resume(answer)));
        self.state = match resumed {
            Ok(CoroutineResult::Yield(request)) => State::Waiting(request),
            Ok(CoroutineResult::Return(())) => State::Ended,
            Err(payload) => return Err(error_of(payload, position)),
        };
        Ok(())
    }

    fn waiting_at(&self) -> Option<Collective> {
        match self.state {
            State::Waiting(request) => Some(request.collective),
            State::Ready(_) | State::Ended => None,
        }
    }
}

/// What a thread was unwound for.
fn error_of(payload: Box<dyn Any + Send>, thread: ThreadPosition) -> EmulationError {
    let payload = match payload.downcast::<EmulationError>() {
        Ok(error) => return *error,
        Err(payload) => payload,
    };
    let message = match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "no message".to_owned(),
    };
    EmulationError::Panic { thread, message }
}

impl Block {
    fn new(
        active: &Rc<Active>,
        number: u32,
        kernel: &Rc<dyn Fn()>,
    ) -> Result<Self, EmulationError> {
        let threads = (0..active.grid.threads_per_block)
            .map(|thread| Thread::new(active, ThreadPosition { block: number, thread }, kernel))
            .collect::<Result<_, _>>()?;
        Ok(Self { number, threads })
    }

    fn has_ended(&self) -> bool {
        self.threads.iter().all(|thread| matches!(thread.state, State::Ended))
    }

    /// Runs every thread that may go on, one warp after the other.
    fn run_ready(&mut self, active: &Active) -> Result<(), EmulationError> {
        let warps = self.threads.len().div_ceil(WARP_SIZE as usize);
        for turn in 0..warps {
            let warp = in_order(active.grid.lane_order, turn, warps);
            self.run_warp(active, warp)?;
            for _ in 0..active.grid.warp_lead {
                if !complete_in_warp(self.warp(warp).1) {
                    break;
                }
                self.run_warp(active, warp)?;
            }
        }
        Ok(())
    }

    /// A warp's first thread's number, and its threads.
    fn warp(&mut self, number: usize) -> (usize, &mut [Thread]) {
        let first = number * WARP_SIZE as usize;
        let end = self.threads.len().min(first + WARP_SIZE as usize);
        (first, &mut self.threads[first..end])
    }

    fn run_warp(&mut self, active: &Active, number: usize) -> Result<(), EmulationError> {
        let block = self.number;
        let (first, lanes) = self.warp(number);
        for turn in 0..lanes.len() {
            let lane = in_order(active.grid.lane_order, turn, lanes.len());
            if let State::Ready(answer) = lanes[lane].state {
                let position = ThreadPosition { block, thread: (first + lane) as u32 };
                active.set_current(position);
                lanes[lane].resume(answer, position)?;
            }
        }
        Ok(())
    }

    /// Answers the requests of all collectives to which everyone has come. No thread is ready.
    fn complete_collectives(&mut self) -> Result<(), EmulationError> {
        let barrier = Some(Collective::SyncThreads);
        let mut progress = false;
        if self.threads.iter().all(|thread| thread.waiting_at() == barrier) {
            self.threads.iter_mut().for_each(|thread| thread.state = State::Ready(0));
            progress = true;
        } else {
            for warp in self.threads.chunks_mut(WARP_SIZE as usize) {
                progress |= complete_in_warp(warp);
            }
        }
        if progress || self.has_ended() { Ok(()) } else { Err(self.divergence()) }
    }

    /// Why no thread can go on.
    fn divergence(&self) -> EmulationError {
        let warps = self.threads.chunks(WARP_SIZE as usize);
        let groups: Vec<Lanes> = warps.enumerate().flat_map(|(n, warp)| groups(n, warp)).collect();
        // Those who wait for lanes of their own warp are closer to the cause than those at the
        // thread block's barrier.
        let stuck = groups.iter().filter_map(|group| Some((group, group.waiting_at?)));
        let (waiting, missing) = stuck
            .filter_map(|(group, collective)| Some((group, missing(group, collective, &groups)?)))
            .min_by_key(|(group, _)| group.waiting_at == Some(Collective::SyncThreads))
            .expect("a thread block that has not ended and cannot go on has lanes that wait");
        EmulationError::Divergence { block: self.number, waiting: *waiting, missing }
    }
}

/// Which of `count` comes at this turn.
fn in_order(order: LaneOrder, turn: usize, count: usize) -> usize {
    match order {
        LaneOrder::Ascending => turn,
        LaneOrder::Descending => count - 1 - turn,
    }
}

/// The lanes of a warp by what they have come to. Lanes that do not exist count as ended.
fn groups(number: usize, warp: &[Thread]) -> Vec<Lanes> {
    let mut groups: Vec<Lanes> = Vec::new();
    for lane in 0..WARP_SIZE {
        let waiting_at = warp.get(lane as usize).and_then(Thread::waiting_at);
        match groups.iter_mut().find(|group| group.waiting_at == waiting_at) {
            Some(group) => group.lanes |= 1 << lane,
            None => groups.push(Lanes { warp: number as u32, lanes: 1 << lane, waiting_at }),
        }
    }
    groups
}

/// Lanes that `waiting` waits for at `collective` and that have not come to it.
fn missing(waiting: &Lanes, collective: Collective, groups: &[Lanes]) -> Option<Lanes> {
    let whole_block = collective == Collective::SyncThreads;
    groups.iter().find_map(|group| {
        let lanes = group.lanes & collective.mask();
        let awaited = whole_block || group.warp == waiting.warp;
        let absent = group.waiting_at != Some(collective);
        (awaited && absent && lanes != 0).then_some(Lanes { lanes, ..*group })
    })
}

/// Answers the requests of a warp's complete collectives; whether there were any.
fn complete_in_warp(warp: &mut [Thread]) -> bool {
    let mut progress = false;
    for lane in 0..warp.len() {
        let Some(collective) = warp[lane].waiting_at() else { continue };
        if collective == Collective::SyncThreads {
            continue;
        }
        let came = (0..WARP_SIZE as usize)
            .filter(|&other| warp.get(other).and_then(Thread::waiting_at) == Some(collective))
            .fold(0, |mask: u32, other| mask | 1 << other);
        if came == collective.mask() {
            answer(warp, collective);
            progress = true;
        }
    }
    progress
}

/// Completes a collective of a warp.
fn answer(warp: &mut [Thread], collective: Collective) {
    let values: Vec<u32> = warp
        .iter()
        .map(|thread| match thread.state {
            State::Waiting(request) if request.collective == collective => request.value,
            _ => 0,
        })
        .collect();
    let ballot = values.iter().enumerate().fold(0, |all, (lane, value)| all | value << lane);
    for thread in warp {
        if let State::Waiting(request) = thread.state
            && request.collective == collective
        {
            thread.state = State::Ready(match collective {
                Collective::Ballot { .. } => ballot,
                Collective::Shuffle { .. } => values[request.source_lane as usize],
                Collective::SyncWarp { .. } | Collective::SyncThreads => 0,
            });
        }
    }
}
