//! The device: choosing it, its limits, and memory on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use bytemuck::Pod;
use wgpu::util::DeviceExt;
use wgpu::{Buffer, BufferDescriptor, BufferUsages, MapMode, PollType};

use crate::Error;

/// Which adapter, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// A part of the adapter's name, in any case; the most powerful one without.
    pub adapter: Option<String>,
    /// Less than the adapter's own limit of bytes that a dispatch may bind.
    pub max_binding: Option<u64>,
    /// Less than the adapter's own limit of workgroups in a dimension.
    pub max_workgroups: Option<u32>,
}

/// A device with its queue.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    features: wgpu::Features,
    /// The first thing that went wrong on the device since it was last asked.
    fault: Arc<Mutex<Option<String>>>,
    up: AtomicU64,
    down: AtomicU64,
}

/// What the shaders take beyond the least that WebGPU promises: nothing. Drivers that are not
/// conformant may have less.
const NEEDED: [(&str, u32); 3] = [
    ("max_compute_workgroup_storage_size", 16_384),
    ("max_compute_invocations_per_workgroup", 256),
    ("max_storage_buffers_per_shader_stage", 8),
];

impl Gpu {
    /// Opens a Vulkan adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the names of those there are, [`Error::NoDevice`],
    /// [`Error::AdapterLimit`].
    pub fn new(options: &DeviceOptions) -> Result<Self, Error> {
        pollster::block_on(Self::open(options))
    }

    async fn open(options: &DeviceOptions) -> Result<Self, Error> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let mut adapters = instance.enumerate_adapters(wgpu::Backends::VULKAN).await;
        adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::VirtualGpu => 1,
            wgpu::DeviceType::Other | wgpu::DeviceType::Cpu => 2,
        });
        let found: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        let wanted = options.adapter.as_ref().map(|name| name.to_lowercase());
        let is_wanted = |name: &str| wanted.as_ref().is_none_or(|part| name.contains(part));
        let adapter =
            adapters.into_iter().find(|adapter| is_wanted(&adapter.get_info().name.to_lowercase()));
        let Some(adapter) = adapter else {
            return Err(Error::NoAdapter { wanted: options.adapter.clone(), found });
        };
        let (info, mut limits) = (adapter.get_info(), adapter.limits());
        let has = [
            limits.max_compute_workgroup_storage_size,
            limits.max_compute_invocations_per_workgroup,
            limits.max_storage_buffers_per_shader_stage,
        ];
        for ((limit, needed), found) in NEEDED.into_iter().zip(has) {
            if found < needed {
                let (needed, found) = (u64::from(needed), u64::from(found));
                return Err(Error::AdapterLimit { limit, needed, found });
            }
        }
        if let Some(bytes) = options.max_binding {
            limits.max_storage_buffer_binding_size =
                limits.max_storage_buffer_binding_size.min(bytes);
        }
        if let Some(count) = options.max_workgroups {
            let limit = &mut limits.max_compute_workgroups_per_dimension;
            *limit = (*limit).min(count);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: wgpu::Features::empty(),
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            Error::NoDevice { adapter: info.name.clone(), reason: error.to_string() }
        })?;
        let fault = Arc::new(Mutex::new(None));
        let first = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.to_string());
        }));
        let (limits, features) = (device.limits(), adapter.features());
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { device, queue, info, limits, features, fault, up, down })
    }

    /// Name, driver and kind of the adapter, as its driver says.
    #[must_use]
    pub fn name(&self) -> String {
        let wgpu::AdapterInfo { name, driver, driver_info, .. } = &self.info;
        format!("{name} ({driver} {driver_info})")
    }

    /// Whether the adapter is a processor that computes in software.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Whether the adapter has WGSL's own f16. The shaders do without.
    #[must_use]
    pub fn has_shader_f16(&self) -> bool {
        self.features.contains(wgpu::Features::SHADER_F16)
    }

    /// Bytes that went to the device and came from it so far, in this order: matrices, targets,
    /// coefficients, what is read back, and 128 bytes of constants a dispatch.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// A buffer of constants.
    pub(crate) fn constants(&self, what: &'static str, bytes: &[u8]) -> Buffer {
        self.up.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some(what),
            contents: bytes,
            usage: BufferUsages::UNIFORM,
        })
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Bytes that a dispatch may bind of a buffer. The shaders count elements in 32 bits.
    #[must_use]
    pub fn max_binding(&self) -> u64 {
        let limit = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        limit.min(u64::from(u32::MAX - 3))
    }

    /// Workgroups of a dimension of a dispatch.
    #[must_use]
    pub fn max_workgroups(&self) -> u32 {
        self.limits.max_compute_workgroups_per_dimension
    }

    /// By what a bound part's first byte has to be divisible.
    pub(crate) fn alignment(&self) -> u64 {
        u64::from(self.limits.min_storage_buffer_offset_alignment)
    }

    /// What went wrong on the device, if anything did.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        fault.map_or(Ok(()), |text| Err(Error::Device(text)))
    }

    /// Memory of zeros, for so many bytes, rounded up to whole words.
    pub(crate) fn zeros(&self, what: &'static str, bytes: u64) -> Result<Buffer, Error> {
        let size = bytes.max(4).next_multiple_of(4);
        let allowed = self.limits.max_buffer_size;
        if size > allowed {
            return Err(Error::TooLarge { what, bytes: size, limit: "max_buffer_size", allowed });
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let buffer = self.device.create_buffer(&BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation: false,
        });
        self.check()?;
        Ok(buffer)
    }

    /// Memory that is bound whole.
    pub(crate) fn bindable(&self, what: &'static str, bytes: u64) -> Result<Buffer, Error> {
        self.check_binding(what, bytes)?;
        self.zeros(what, bytes)
    }

    pub(crate) fn check_binding(&self, what: &'static str, bytes: u64) -> Result<(), Error> {
        let allowed = self.max_binding();
        let limit = "max_storage_buffer_binding_size";
        if bytes > allowed { Err(Error::TooLarge { what, bytes, limit, allowed }) } else { Ok(()) }
    }

    /// A copy of numbers on the device.
    pub(crate) fn upload<T: Pod>(&self, what: &'static str, from: &[T]) -> Result<Buffer, Error> {
        let bytes: &[u8] = bytemuck::cast_slice(from);
        let buffer = self.zeros(what, bytes.len() as u64)?;
        self.write(&buffer, bytes);
        self.check()?;
        Ok(buffer)
    }

    /// Replaces the first bytes of a buffer; those of the last word that are not given become 0.
    pub(crate) fn write(&self, buffer: &Buffer, bytes: &[u8]) {
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % 4);
        self.up.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.queue.write_buffer(buffer, 0, whole);
        if !rest.is_empty() {
            let mut word = [0; 4];
            for (to, from) in word.iter_mut().zip(rest) {
                *to = *from;
            }
            self.queue.write_buffer(buffer, whole.len() as u64, &word);
        }
    }

    /// Waits for the device, and copies the first numbers of a buffer from it.
    pub(crate) fn read<T: Pod>(&self, from: &Buffer, to: &mut [T]) -> Result<(), Error> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(to);
        if bytes.is_empty() {
            return Ok(());
        }
        let size = (bytes.len() as u64).next_multiple_of(4);
        self.down.fetch_add(size, Ordering::Relaxed);
        let staging = self.device.create_buffer(&BufferDescriptor {
            label: Some("what comes back"),
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder =
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(from, 0, &staging, 0, size);
        self.queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        staging.map_async(MapMode::Read, .., move |result| {
            // The receiver waits for it; if it is gone, no one wants to know.
            let _ = sender.send(result);
        });
        self.wait()?;
        let mapped = receiver.recv().map_err(|error| Error::Device(error.to_string()))?;
        mapped.map_err(|error| Error::Device(error.to_string()))?;
        let view =
            staging.get_mapped_range(..).map_err(|error| Error::Device(error.to_string()))?;
        for (to, from) in bytes.iter_mut().zip(view.iter()) {
            *to = *from;
        }
        Ok(())
    }

    /// Waits until the device has done what it was given.
    ///
    /// # Errors
    /// [`Error::Device`] with the first thing that went wrong.
    pub fn wait(&self) -> Result<(), Error> {
        self.device
            .poll(PollType::wait_indefinitely())
            .map_err(|error| Error::Device(error.to_string()))?;
        self.check()
    }
}
