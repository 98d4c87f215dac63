//! The dynamic shared memory of a thread block.
//!
//! [`SharedAddress`] accesses it with the instructions of its own address space. Generic pointers,
//! as [`dynamic_shared_mem`] gives them, work too, by slower instructions and unchecked by the
//! emulator.
//!
//! Why the assembly is sound: each block is one instruction that reads or writes exactly the bytes
//! that its function names, at an address that the caller has promised to lie within the shared
//! memory, and touches no stack.

#[cfg(not(target_arch = "nvptx64"))]
use crate::emulator::context;
#[cfg(target_arch = "nvptx64")]
use core::arch::asm;

#[cfg(target_arch = "nvptx64")]
core::arch::global_asm!(".extern .shared .align 16 .b8 dyn_smem[];");

/// The start of the dynamic shared memory as a generic pointer, at a multiple of 16. It is not
/// initialised.
#[inline(always)]
pub fn dynamic_shared_mem<T>() -> *mut T {
    #[cfg(target_arch = "nvptx64")]
    {
        let offset: u64;
        // SAFETY: reads the address of a symbol.
        unsafe {
            asm!(
                "mov.u64 {}, dyn_smem;",
                out(reg64) offset,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        let generic: u64;
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!(
                "cvta.shared.u64 {}, {};",
                out(reg64) generic, in(reg64) offset,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        core::ptr::with_exposed_provenance_mut(generic as usize)
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::shared_pointer().cast()
    }
}

/// An address in the shared memory's own address space, where the first byte of the dynamic shared
/// memory need not be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedAddress(pub u32);

/// Methods that load one integer: its type, the instruction, the register, and whether the memory
/// never changes.
macro_rules! loads {
    ($($(#[$doc:meta])* $name:ident: $type:ident, $instruction:literal, $register:ident, $($option:ident)+;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        pub unsafe fn $name(self) -> $type {
            #[cfg(target_arch = "nvptx64")]
            {
                let value: $type;
                // SAFETY: the caller's promise; see the module.
                unsafe {
                    asm!(
                        concat!($instruction, " {}, [{}];"),
                        out($register) value, in(reg32) self.0,
                        options($($option,)+ nostack, preserves_flags)
                    );
                }
                value
            }
            #[cfg(not(target_arch = "nvptx64"))]
            {
                $type::from_ne_bytes(context::load_shared(self.0))
            }
        }
    )* };
}

impl SharedAddress {
    /// The first byte of the dynamic shared memory, a multiple of 16.
    #[inline(always)]
    pub fn base() -> Self {
        #[cfg(target_arch = "nvptx64")]
        {
            let address: u32;
            // SAFETY: reads the address of a symbol.
            unsafe {
                asm!(
                    "mov.u32 {}, dyn_smem;",
                    out(reg32) address,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            Self(address)
        }
        #[cfg(not(target_arch = "nvptx64"))]
        {
            context::shared_base()
        }
    }

    /// The address `bytes` further on.
    #[inline(always)]
    pub fn offset(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    loads! {
        /// Loads two bytes.
        ///
        /// # Safety
        ///
        /// The address is a multiple of 2, and the bytes lie within the shared memory.
        load_u16: u16, "ld.shared.u16", reg16, readonly;
        /// Loads four bytes.
        ///
        /// # Safety
        ///
        /// The address is a multiple of 4, and the bytes lie within the shared memory.
        load_u32: u32, "ld.shared.u32", reg32, readonly;
        /// Loads four bytes that no thread writes as long as the result is in use, so that the
        /// compiler may move the load.
        ///
        /// # Safety
        ///
        /// The address is a multiple of 4, and the bytes lie within the shared memory.
        load_u32_constant: u32, "ld.shared.u32", reg32, pure readonly;
    }

    /// Loads eight bytes.
    ///
    /// # Safety
    ///
    /// The address is a multiple of 8, and the bytes lie within the shared memory.
    #[inline(always)]
    pub unsafe fn load_u32x2(self) -> [u32; 2] {
        #[cfg(target_arch = "nvptx64")]
        {
            let (first, second): (u32, u32);
            // SAFETY: the caller's promise; see the module.
            unsafe {
                asm!(
                    "ld.shared.v2.u32 {{{}, {}}}, [{}];",
                    out(reg32) first, out(reg32) second, in(reg32) self.0,
                    options(readonly, nostack, preserves_flags)
                );
            }
            [first, second]
        }
        #[cfg(not(target_arch = "nvptx64"))]
        {
            let bytes: [u8; 8] = context::load_shared(self.0);
            let word = |at: usize| u32::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]));
            [word(0), word(4)]
        }
    }

    /// Stores two bytes.
    ///
    /// # Safety
    ///
    /// The address is a multiple of 2, the bytes lie within the shared memory, and no other thread
    /// accesses them before a barrier.
    #[inline(always)]
    pub unsafe fn store_u16(self, value: u16) {
        #[cfg(target_arch = "nvptx64")]
        // SAFETY: the caller's promise; see the module.
        unsafe {
            asm!(
                "st.shared.u16 [{}], {};",
                in(reg32) self.0, in(reg16) value,
                options(nostack, preserves_flags)
            );
        }
        #[cfg(not(target_arch = "nvptx64"))]
        context::store_shared(self.0, value.to_ne_bytes());
    }

    /// Stores four bytes.
    ///
    /// # Safety
    ///
    /// The address is a multiple of 4, the bytes lie within the shared memory, and no other thread
    /// accesses them before a barrier.
    #[inline(always)]
    pub unsafe fn store_u32(self, value: u32) {
        #[cfg(target_arch = "nvptx64")]
        // SAFETY: the caller's promise; see the module.
        unsafe {
            asm!(
                "st.shared.u32 [{}], {};",
                in(reg32) self.0, in(reg32) value,
                options(nostack, preserves_flags)
            );
        }
        #[cfg(not(target_arch = "nvptx64"))]
        context::store_shared(self.0, value.to_ne_bytes());
    }

    /// Stores 16 bytes.
    ///
    /// # Safety
    ///
    /// The address is a multiple of 16, the bytes lie within the shared memory, and no other thread
    /// accesses them before a barrier.
    #[inline(always)]
    pub unsafe fn store_u32x4(self, value: [u32; 4]) {
        #[cfg(target_arch = "nvptx64")]
        // SAFETY: the caller's promise; see the module.
        unsafe {
            asm!(
                "st.shared.v4.u32 [{}], {{{}, {}, {}, {}}};",
                in(reg32) self.0,
                in(reg32) value[0], in(reg32) value[1], in(reg32) value[2], in(reg32) value[3],
                options(nostack, preserves_flags)
            );
        }
        #[cfg(not(target_arch = "nvptx64"))]
        {
            let bytes: [u8; 16] = core::array::from_fn(|at| value[at / 4].to_ne_bytes()[at % 4]);
            context::store_shared(self.0, bytes);
        }
    }
}
