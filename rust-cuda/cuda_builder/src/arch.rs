//! Compute capabilities.

/// The lowest compute capability that PTX is for; the driver compiles it for every later one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Arch {
    /// 8.0: A100.
    #[default]
    Sm80,
    /// 8.6: RTX 30.
    Sm86,
    /// 8.9: RTX 40, L4, L40.
    Sm89,
    /// 9.0: H100, H200.
    Sm90,
    /// 10.0: B200.
    Sm100,
    /// 12.0: RTX 50.
    Sm120,
}

impl Arch {
    /// The name that rustc (`-Ctarget-cpu`) and `ptxas` (`-arch`) have for it.
    pub const fn target_cpu(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm86 => "sm_86",
            Self::Sm89 => "sm_89",
            Self::Sm90 => "sm_90",
            Self::Sm100 => "sm_100",
            Self::Sm120 => "sm_120",
        }
    }

    /// The version of the PTX language, as rustc's target feature: 8.0, which drivers from 525 on
    /// accept, or the first one that knows the capability.
    pub(crate) const fn ptx_feature(self) -> &'static str {
        match self {
            Self::Sm80 | Self::Sm86 | Self::Sm89 | Self::Sm90 => "ptx80",
            Self::Sm100 => "ptx86",
            Self::Sm120 => "ptx87",
        }
    }
}
