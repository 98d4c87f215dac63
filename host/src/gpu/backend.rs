//! What decodes, and where to.

use std::str::FromStr;
use std::sync::Arc;

use super::device::DeviceInfo;
use super::engine::Engine;
use crate::error::{Error, Result};

/// A GPU, or the CPU. Clones share the context and what was set up in it.
#[derive(Clone)]
pub struct Device {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Cpu { reason: String },
    Gpu(Arc<Engine>),
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Device").field(&self.describe()).finish()
    }
}

impl Device {
    /// The GPU with the number `ordinal`, in its primary context, which the CUDA runtime and what is
    /// built on it use too.
    ///
    /// # Errors
    ///
    /// When there is no driver or no such GPU, or it is older than compute capability 8.0.
    pub fn cuda(ordinal: u32) -> Result<Self> {
        Ok(Self { backend: Backend::Gpu(Arc::new(Engine::new(ordinal)?)) })
    }

    /// The CPU.
    pub fn cpu() -> Self {
        Self { backend: Backend::Cpu { reason: "asked for".into() } }
    }

    /// The first GPU, or the CPU where that cannot be used; [`Device::describe`] says which, and why.
    pub fn auto() -> Self {
        match Self::cuda(0) {
            Ok(device) => device,
            Err(error) => Self { backend: Backend::Cpu { reason: error.to_string() } },
        }
    }

    /// The GPU's name, or the CPU and the reason for it.
    pub fn describe(&self) -> String {
        match &self.backend {
            Backend::Cpu { reason } => format!("the CPU ({reason})"),
            Backend::Gpu(engine) => format!("cuda:{} ({})", engine.info.ordinal, engine.info.name),
        }
    }

    /// What the GPU is, if it is one.
    pub fn info(&self) -> Option<&DeviceInfo> {
        self.engine().map(|engine| &engine.info)
    }

    /// Frees the pinned memory and the device memory that are kept for the next load.
    pub fn release_buffers(&self) {
        if let Some(engine) = self.engine() {
            // Without its context nothing can be freed, and a lost one has nothing left.
            let _ = engine.make_current();
            engine.workspaces.clear();
        }
    }

    pub(crate) fn engine(&self) -> Option<&Arc<Engine>> {
        match &self.backend {
            Backend::Cpu { .. } => None,
            Backend::Gpu(engine) => Some(engine),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu`, `auto`, or `cuda:0` for the first GPU.
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(ordinal)) => Self::cuda(ordinal),
            None if text == "cpu" => Ok(Self::cpu()),
            None if text == "auto" => Ok(Self::auto()),
            _ => Err(Error::InvalidArgument {
                what: format!("the device {}", crate::error::quoted(text)),
                detail: "name cpu, auto, or cuda:0 for the first GPU".into(),
            }),
        }
    }
}
