//! What happens when a mapped file cannot be read: because another process has cut it short
//! meanwhile, or its disk fails, the operating system answers a load with SIGBUS.
//!
//! As `libwayland-server` does with its clients' memory, a handler puts pages of zeros in the place
//! of the ones that cannot be read and notes that it did; the load is repeated and finds zeros. So
//! reading mapped files costs nothing, and whoever has read asks afterwards whether it was all
//! there.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// The addresses of a mapped file. Never freed, since the handler may look at it at any time; used
/// again once its file is closed.
struct Slot {
    is_taken: AtomicBool,
    /// Zero while there is no file.
    start: AtomicUsize,
    end: AtomicUsize,
    is_incomplete: AtomicBool,
    next: AtomicPtr<Slot>,
}

static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

/// The slots, the newest first. Only loads, so that the handler may do it.
fn slots() -> impl Iterator<Item = &'static Slot> {
    let mut at = SLOTS.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: slots come from `Box::leak`, and are put on the list when they are complete.
        let slot = unsafe { at.as_ref() }?;
        at = slot.next.load(Ordering::Acquire);
        Some(slot)
    })
}

/// A mapped file that the handler knows, until this is dropped.
pub(super) struct Region(&'static Slot);

impl Region {
    /// The region of `bytes`, which are those of a mapped file.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let slot = Self::free_slot();
        slot.is_incomplete.store(false, Ordering::Relaxed);
        slot.end.store(bytes.as_ptr().addr() + bytes.len(), Ordering::Relaxed);
        slot.start.store(bytes.as_ptr().addr(), Ordering::Release);
        Self(slot)
    }

    fn free_slot() -> &'static Slot {
        let take = |slot: &&Slot| {
            let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
            slot.is_taken.compare_exchange(false, true, acquire, relaxed).is_ok()
        };
        if let Some(slot) = slots().find(take) {
            return slot;
        }
        let slot: &'static Slot = Box::leak(Box::new(Slot {
            is_taken: AtomicBool::new(true),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            is_incomplete: AtomicBool::new(false),
            next: AtomicPtr::new(ptr::null_mut()),
        }));
        let link = |first| {
            slot.next.store(first, Ordering::Relaxed);
            Some(ptr::from_ref(slot).cast_mut())
        };
        // The function always gives a value, so this never fails.
        let _ = SLOTS.fetch_update(Ordering::AcqRel, Ordering::Acquire, link);
        slot
    }

    /// Whether zeros were read in place of bytes that could not be.
    pub(super) fn is_incomplete(&self) -> bool {
        self.0.is_incomplete.load(Ordering::Acquire)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Release);
        self.0.is_taken.store(false, Ordering::Release);
    }
}

/// What SIGBUS did before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Lets files that are cut short while they are read, or that the disk does not give back, be an
/// error of the call that reads them. Without this, the operating system ends the process then, as
/// it does with every program that maps its input.
///
/// Installs a handler of SIGBUS for the whole process, which is why it is left to the program; the
/// `wcodec` command calls it. Faults that have nothing to do with this crate's files go to the
/// handler that was there before. Calling it again does nothing.
///
/// # Errors
///
/// When the operating system does not take the handler.
pub fn guard_mapped_files() -> Result<()> {
    if PREVIOUS.get().is_some() {
        return Ok(());
    }
    let failed = || Error::io("watch for signals in", "this process", io::Error::last_os_error());
    let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action, the call only writes the present one.
    let asked = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) };
    if asked != 0 {
        return Err(failed());
    }
    // SAFETY: the call has succeeded, and all of it was zeroed before.
    let previous = unsafe { previous.assume_init() };
    if PREVIOUS.set(previous).is_err() {
        return Ok(());
    }
    // SAFETY: a `sigaction` of zeros is valid: the default action, no flags, no signals blocked.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
    action.sa_sigaction = handler as usize;
    // On the stack that the runtime has set aside for signals.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler does only what a handler may: atomic loads and stores, and system calls.
    let set = unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) };
    if set == 0 { Ok(()) } else { Err(failed()) }
}

extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: a handler with SA_SIGINFO is given a pointer to valid information.
    let Some(details) = (unsafe { info.as_ref() }) else { return };
    // SAFETY: the information of SIGBUS has an address.
    let address = unsafe { details.si_addr() }.addr();
    let hit = slots().find(|slot| {
        let start = slot.start.load(Ordering::Acquire);
        start != 0 && (start..slot.end.load(Ordering::Relaxed)).contains(&address)
    });
    let is_ours = hit.is_some_and(|slot| {
        slot.is_incomplete.store(true, Ordering::Release);
        put_zeros(address, slot.end.load(Ordering::Relaxed))
    });
    if !is_ours {
        hand_on(signal, info, context);
    }
}

/// Maps zeros from the page of `address` to that of `end`; whether that worked.
fn put_zeros(address: usize, end: usize) -> bool {
    // SAFETY: asks for a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let start = address / page * page;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let place = ptr::without_provenance_mut(start);
    // SAFETY: the pages belong to a read-only map of this crate, which nobody else knows; they are
    // replaced in one step by pages that can be read as well.
    let mapped = unsafe { libc::mmap(place, end - start, libc::PROT_READ, flags, -1, 0) };
    mapped != libc::MAP_FAILED
}

/// Does with a signal what would have been done without this handler.
fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if let Some(previous) = PREVIOUS.get() {
        let has_handler = ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction);
        if has_handler && previous.sa_flags & libc::SA_SIGINFO != 0 {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: with this flag, the field holds a function of this type.
            let handler: Handler = unsafe { std::mem::transmute(previous.sa_sigaction) };
            return handler(signal, info, context);
        }
    }
    // The load is repeated, and now ends the process.
    // SAFETY: the default action may be set in a handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
