//! The shaders, put together for an element type, and one dispatch of them.

use std::marker::PhantomData;
use std::sync::OnceLock;

use wgpu::{BindGroupDescriptor, BindGroupEntry, BindingResource, Buffer, BufferBinding};

use crate::formula::Formulas;
use crate::params::Params;
use crate::{Element, Error, Gpu};

const PARAMS: &str = include_str!("shaders/params.wgsl");
const DOUBLE: &str = include_str!("shaders/double.wgsl");
const FORMULA: &str = include_str!("shaders/formula.wgsl");
const EXP: &str = include_str!("shaders/exp.wgsl");
const FOLD: &str = include_str!("shaders/fold.wgsl");
const PLACES: &str = include_str!("shaders/places.wgsl");
const BLOCKS: &str = include_str!("shaders/blocks.wgsl");
const TERMS: &str = include_str!("shaders/terms.wgsl");
const PRODUCT: &str = include_str!("shaders/product.wgsl");
const TILE: &str = include_str!("shaders/tile.wgsl");

/// The entries of the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Fold,
    FoldShort,
    Finish,
    Factors,
    MapApart,
    MapInPlace,
    HeadFold,
    HeadFactors,
    HeadGrads,
    Logits,
    WeightStep,
    Functions,
}

const ENTRIES: [Entry; 12] = [
    Entry::Fold,
    Entry::FoldShort,
    Entry::Finish,
    Entry::Factors,
    Entry::MapApart,
    Entry::MapInPlace,
    Entry::HeadFold,
    Entry::HeadFactors,
    Entry::HeadGrads,
    Entry::Logits,
    Entry::WeightStep,
    Entry::Functions,
];

impl Entry {
    /// Its name, its parts, and whether it takes the formulas.
    fn source(self) -> (&'static str, Vec<&'static str>, bool) {
        match self {
            Self::Fold | Self::FoldShort => (
                "fold",
                vec![DOUBLE, FORMULA, EXP, FOLD, PLACES, BLOCKS, include_str!("shaders/rows.wgsl")],
                true,
            ),
            Self::Finish => (
                "finish",
                vec![DOUBLE, FORMULA, EXP, FOLD, PLACES, include_str!("shaders/finish.wgsl")],
                true,
            ),
            Self::Functions => (
                "functions",
                vec![DOUBLE, FORMULA, EXP, FOLD, PLACES, include_str!("shaders/functions.wgsl")],
                true,
            ),
            Self::Factors => (
                "factors",
                vec![
                    DOUBLE,
                    FORMULA,
                    EXP,
                    FOLD,
                    TERMS,
                    include_str!("shaders/factors.wgsl"),
                    include_str!("shaders/goal_rows.wgsl"),
                ],
                false,
            ),
            Self::HeadFactors => (
                "factors",
                vec![
                    DOUBLE,
                    FORMULA,
                    EXP,
                    FOLD,
                    TERMS,
                    PRODUCT,
                    include_str!("shaders/factors.wgsl"),
                    include_str!("shaders/goal_head.wgsl"),
                ],
                false,
            ),
            Self::MapApart => (
                "map",
                vec![
                    EXP,
                    TERMS,
                    include_str!("shaders/map.wgsl"),
                    include_str!("shaders/map_apart.wgsl"),
                ],
                false,
            ),
            Self::MapInPlace => (
                "map",
                vec![
                    EXP,
                    TERMS,
                    include_str!("shaders/map.wgsl"),
                    include_str!("shaders/map_in_place.wgsl"),
                ],
                false,
            ),
            Self::HeadFold => (
                "head_fold",
                vec![
                    DOUBLE,
                    FORMULA,
                    EXP,
                    FOLD,
                    PLACES,
                    BLOCKS,
                    PRODUCT,
                    TILE,
                    include_str!("shaders/head_fold.wgsl"),
                ],
                true,
            ),
            Self::HeadGrads => (
                "head_grads",
                vec![EXP, TERMS, PRODUCT, TILE, include_str!("shaders/head_grads.wgsl")],
                false,
            ),
            Self::Logits => {
                ("logits_of_head", vec![PRODUCT, include_str!("shaders/logits.wgsl")], false)
            }
            Self::WeightStep => {
                ("weight_step", vec![include_str!("shaders/weight_step.wgsl")], false)
            }
        }
    }
}

/// The shaders for elements of one type. Each is compiled when it is first used.
#[derive(Debug)]
pub struct Kernels<'g, E> {
    gpu: &'g Gpu,
    pipelines: [OnceLock<wgpu::ComputePipeline>; ENTRIES.len()],
    formulas: Buffer,
    /// Replacements in the sources.
    edits: Vec<(String, String)>,
    elements: PhantomData<E>,
}

/// A part of a buffer at a binding.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) at: u32,
    pub(crate) buffer: &'a Buffer,
    /// Bytes from its start; all of it without.
    pub(crate) part: Option<(u64, u64)>,
}

pub(crate) fn whole(at: u32, buffer: &Buffer) -> Bound<'_> {
    Bound { at, buffer, part: None }
}

/// What the device is to do, in order.
pub(crate) struct Work<'k, 'g, E> {
    kernels: &'k Kernels<'g, E>,
    encoder: wgpu::CommandEncoder,
}

impl<'g, E: Element> Kernels<'g, E> {
    /// Shaders for a device.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn new(gpu: &'g Gpu) -> Result<Self, Error> {
        let formulas = gpu.constants("formulas", bytemuck::bytes_of(&Formulas::new()));
        gpu.check()?;
        Ok(Self {
            gpu,
            pipelines: [const { OnceLock::new() }; ENTRIES.len()],
            formulas,
            edits: Vec::new(),
            elements: PhantomData,
        })
    }

    /// With other text in the sources, where they have it: for tests that plant faults.
    ///
    /// # Errors
    /// [`Error::Device`] if no source has it.
    #[doc(hidden)]
    pub fn with_edit(mut self, from: &str, to: &str) -> Result<Self, Error> {
        let parts = ENTRIES.iter().flat_map(|entry| entry.source().1);
        if !parts.chain([PARAMS, E::SHADER]).any(|part| part.contains(from)) {
            return Err(Error::Device(format!("no shader has {from:?}")));
        }
        self.edits.push((from.to_owned(), to.to_owned()));
        Ok(self)
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    fn pipeline(&self, entry: Entry) -> Result<&wgpu::ComputePipeline, Error> {
        let Some(place) = self.pipelines.get(entry as usize) else {
            return Err(Error::Device(format!("no room for the shader {entry:?}")));
        };
        if place.get().is_none() {
            let (name, parts, _) = entry.source();
            let mut source = [&[PARAMS, E::SHADER][..], &parts].concat().concat();
            if entry == Entry::FoldShort {
                source = source.replace("const GROUPS: u32 = 8u;", "const GROUPS: u32 = 1u;");
            }
            for (from, to) in &self.edits {
                source = source.replace(from, to);
            }
            let device = self.gpu.device();
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(name),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
            self.gpu.check()?;
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: None,
                module: &module,
                entry_point: Some(name),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            });
            self.gpu.check()?;
            return Ok(place.get_or_init(|| pipeline));
        }
        place.get().ok_or_else(|| Error::Device(format!("the shader {entry:?} is gone")))
    }

    pub(crate) fn work(&self) -> Work<'_, 'g, E> {
        let encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        Work { kernels: self, encoder }
    }
}

impl<E: Element> Work<'_, '_, E> {
    /// One dispatch of x · y workgroups.
    pub(crate) fn dispatch(
        &mut self,
        entry: Entry,
        params: &Params,
        bound: &[Bound<'_>],
        (x, y): (u64, u64),
    ) -> Result<(), Error> {
        let gpu = self.kernels.gpu;
        let pipeline = self.kernels.pipeline(entry)?;
        let (name, _, with_formulas) = entry.source();
        let groups = |needed: u64| match u32::try_from(needed) {
            Ok(count) if count <= gpu.max_workgroups() => Ok(count),
            _ => {
                let allowed = gpu.max_workgroups();
                Err(Error::TooManyWorkgroups { what: name, needed, allowed })
            }
        };
        let (x, y) = (groups(x)?, groups(y)?);
        let params = gpu.constants("params", bytemuck::bytes_of(params));
        let entry_of = |at, resource| BindGroupEntry { binding: at, resource };
        let mut entries = vec![entry_of(0, params.as_entire_binding())];
        for &Bound { at, buffer, part } in bound {
            let (offset, size) = part.unwrap_or((0, buffer.size()));
            gpu.check_binding(name, size)?;
            let size = wgpu::BufferSize::new(size);
            entries.push(entry_of(
                at,
                BindingResource::Buffer(BufferBinding { buffer, offset, size }),
            ));
        }
        if with_formulas {
            entries.push(entry_of(9, self.kernels.formulas.as_entire_binding()));
        }
        let group = gpu.device().create_bind_group(&BindGroupDescriptor {
            label: Some(name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        gpu.check()?;
        let mut pass = self.encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(x, y, 1);
        Ok(())
    }

    /// Hands it to the device.
    pub(crate) fn submit(self) -> Result<(), Error> {
        let gpu = self.kernels.gpu;
        gpu.queue().submit([self.encoder.finish()]);
        gpu.check()
    }
}
