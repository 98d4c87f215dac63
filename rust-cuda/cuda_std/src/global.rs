//! Loads from and stores to global memory, each a fixed instruction.
//!
//! All of them take addresses that are multiples of the access's size.
//!
//! Why the assembly is sound: each block is one instruction that reads or writes exactly the bytes
//! that its function names, at an address that the caller has promised to be valid for it, and
//! touches no stack. Those marked `pure` read memory that no thread writes during the launch, so
//! that the compiler may merge or drop them.

#[cfg(not(target_arch = "nvptx64"))]
use crate::emulator::{Access, context};
#[cfg(target_arch = "nvptx64")]
use core::arch::asm;

/// Functions that load one integer: its type, the instruction, the register that it takes, and the
/// options of the assembly.
macro_rules! loads {
    ($($(#[$doc:meta])* $name:ident: $type:ident, $instruction:literal, $register:ident as $held:ident, $($option:ident)*;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        pub unsafe fn $name(address: *const $type) -> $type {
            #[cfg(target_arch = "nvptx64")]
            {
                let value: $held;
                // SAFETY: the caller's promise; see the module.
                unsafe {
                    asm!(
                        concat!($instruction, " {}, [{}];"),
                        out($register) value, in(reg64) address,
                        options($($option,)* nostack, preserves_flags)
                    );
                }
                value as $type
            }
            #[cfg(not(target_arch = "nvptx64"))]
            {
                context::check_global(Access::Read, address.addr(), size_of::<$type>());
                // SAFETY: the caller's promise.
                unsafe { address.read() }
            }
        }
    )* };
}

loads! {
    /// Loads through the read-only cache.
    ///
    /// # Safety
    ///
    /// `address` is readable, and no thread writes there during the launch.
    load_u32: u32, "ld.global.nc.u32", reg32 as u32, pure readonly;
    /// Loads through the read-only cache.
    ///
    /// # Safety
    ///
    /// `address` is readable, and no thread writes there during the launch.
    load_u16: u16, "ld.global.nc.u16", reg16 as u16, pure readonly;
    /// Loads through the read-only cache.
    ///
    /// # Safety
    ///
    /// `address` is readable, and no thread writes there during the launch.
    load_u8: u8, "ld.global.nc.u8", reg16 as u16, pure readonly;
    /// Loads what the memory holds now, whoever has written it; never merged with another load.
    ///
    /// # Safety
    ///
    /// `address` is readable.
    load_u32_volatile: u32, "ld.volatile.global.u32", reg32 as u32,;
    /// Loads what this thread, or another one before a barrier, has written.
    ///
    /// # Safety
    ///
    /// `address` is readable.
    load_u32_plain: u32, "ld.global.u32", reg32 as u32, readonly;
    /// Loads what this thread, or another one before a barrier, has written.
    ///
    /// # Safety
    ///
    /// `address` is readable.
    load_u16_plain: u16, "ld.global.u16", reg16 as u16, readonly;
    /// Loads what this thread, or another one before a barrier, has written.
    ///
    /// # Safety
    ///
    /// `address` is readable.
    load_u8_plain: u8, "ld.global.u8", reg16 as u16, readonly;
}

/// Functions that store one integer: its type, the instruction, and the register that it takes.
macro_rules! stores {
    ($($(#[$doc:meta])* $name:ident: $type:ident, $instruction:literal, $register:ident as $held:ident;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// `address` is writable, and no other thread accesses it before a barrier.
        #[inline(always)]
        pub unsafe fn $name(address: *mut $type, value: $type) {
            #[cfg(target_arch = "nvptx64")]
            // SAFETY: the caller's promise; see the module.
            unsafe {
                asm!(
                    concat!($instruction, " [{}], {};"),
                    in(reg64) address, in($register) value as $held,
                    options(nostack, preserves_flags)
                );
            }
            #[cfg(not(target_arch = "nvptx64"))]
            {
                context::check_global(Access::Write, address.addr(), size_of::<$type>());
                // SAFETY: the caller's promise.
                unsafe { address.write(value) };
            }
        }
    )* };
}

stores! {
    /// Stores four bytes.
    store_u32: u32, "st.global.u32", reg32 as u32;
    /// Stores two bytes.
    store_u16: u16, "st.global.u16", reg16 as u16;
    /// Stores a byte.
    store_u8: u8, "st.global.u8", reg16 as u16;
}

/// Loads 16 bytes through the read-only cache.
///
/// # Safety
///
/// `address` is a multiple of 16 and readable, and no thread writes there during the launch.
#[inline(always)]
pub unsafe fn load_u32x4(address: *const [u32; 4]) -> [u32; 4] {
    #[cfg(target_arch = "nvptx64")]
    {
        let (first, second, third, fourth): (u32, u32, u32, u32);
        // SAFETY: the caller's promise; see the module.
        unsafe {
            asm!(
                "ld.global.nc.v4.u32 {{{}, {}, {}, {}}}, [{}];",
                out(reg32) first, out(reg32) second, out(reg32) third, out(reg32) fourth,
                in(reg64) address,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        [first, second, third, fourth]
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::check_global(Access::Read, address.addr(), 16);
        // SAFETY: the caller's promise.
        unsafe { address.read() }
    }
}

/// Loads 16 bytes that this thread, or another one before a barrier, has written.
///
/// # Safety
///
/// `address` is a multiple of 16 and readable.
#[inline(always)]
pub unsafe fn load_u32x4_plain(address: *const [u32; 4]) -> [u32; 4] {
    #[cfg(target_arch = "nvptx64")]
    {
        let (first, second, third, fourth): (u32, u32, u32, u32);
        // SAFETY: the caller's promise; see the module.
        unsafe {
            asm!(
                "ld.global.v4.u32 {{{}, {}, {}, {}}}, [{}];",
                out(reg32) first, out(reg32) second, out(reg32) third, out(reg32) fourth,
                in(reg64) address,
                options(readonly, nostack, preserves_flags)
            );
        }
        [first, second, third, fourth]
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::check_global(Access::Read, address.addr(), 16);
        // SAFETY: the caller's promise.
        unsafe { address.read() }
    }
}

/// Stores 16 bytes.
///
/// # Safety
///
/// `address` is a multiple of 16 and writable, and no other thread accesses it before a barrier.
#[inline(always)]
pub unsafe fn store_u32x4(address: *mut [u32; 4], value: [u32; 4]) {
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: the caller's promise; see the module.
    unsafe {
        asm!(
            "st.global.v4.u32 [{}], {{{}, {}, {}, {}}};",
            in(reg64) address,
            in(reg32) value[0], in(reg32) value[1], in(reg32) value[2], in(reg32) value[3],
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::check_global(Access::Write, address.addr(), 16);
        // SAFETY: the caller's promise.
        unsafe { address.write(value) };
    }
}

/// Adds `value` to what is at `address`, modulo 2^32, in one step that no other thread's comes
/// between, and returns what was there before.
///
/// # Safety
///
/// `address` is readable and writable, and only accessed atomically or by volatile loads meanwhile.
#[inline(always)]
pub unsafe fn atomic_add_u32(address: *mut u32, value: u32) -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        let before: u32;
        // SAFETY: the caller's promise; see the module.
        unsafe {
            asm!(
                "atom.global.add.u32 {}, [{}], {};",
                out(reg32) before, in(reg64) address, in(reg32) value,
                options(nostack, preserves_flags)
            );
        }
        before
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::check_global(Access::Write, address.addr(), 4);
        // SAFETY: the caller's promise.
        let before = unsafe { address.read() };
        // SAFETY: the caller's promise; all threads of the emulator share one of the host.
        unsafe { address.write(before.wrapping_add(value)) };
        before
    }
}
