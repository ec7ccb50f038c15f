#!/bin/sh
# WGSL by wgpu 30.0.2 on lavapipe (Mesa): f32 additions are reordered, so the errors of sums cannot be kept as usual.
#
# WGSL says that additions and products of f32 are correctly rounded. So s = a + b, e = b - (s - a) is thought to give
# the error of the addition, as it does in C, and (x + 12582912) - 12582912 the nearest integer: what compensated sums,
# two-float numbers and exponentials of one's own are made of. But WGSL also lets a compiler reassociate.
#
# Seen (Mesa 22.3.6, LLVM 15, x86-64 with AVX2 or AVX-512), all numbers being read from a buffer:
#   1. a = 1, b = 1e-8: e is 0, not 1e-8. The compiler takes s - a for b.
#   2. x = 2.7: (x + 12582912) - 12582912 is 2.7, not 3.
#   3. The same with s as bitcast<f32>(bitcast<u32>(s)): no change, the two casts are removed.
#   4. With s as bitcast<f32>(bitcast<u32>(s) ^ zero), zero being a number of the buffer: 1e-8, and 3.
# Here every intermediate result of the shaders goes through 4.
#
# Needs cargo, a Vulkan driver (Debian: mesa-vulkan-drivers), and network for the first run. Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "wgsl-two-sum"
version = "0.0.0"
edition = "2021"
[dependencies]
pollster = "=1.0.3"
wgpu = { version = "=30.0.2", default-features = false, features = ["std", "vulkan", "wgsl"] }
[workspace]
TOML
cat > src/main.rs <<'RUST'
use wgpu::util::DeviceExt;

const SHADER: &str = "
@group(0) @binding(0) var<storage, read> numbers: array<f32>;
@group(0) @binding(1) var<storage, read_write> found: array<f32>;

fn twice(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x)); }
fn kept(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ bitcast<u32>(numbers[4])); }

@compute @workgroup_size(1)
fn main() {
    let a = numbers[0];
    let b = numbers[1];
    let x = numbers[2];
    let c = numbers[3];
    let s = a + b;
    found[0] = b - (s - a);
    found[1] = (x + c) - c;
    found[2] = b - (twice(s) - a);
    found[3] = twice(x + c) - c;
    found[4] = b - kept(kept(s) - a);
    found[5] = kept(x + c) - c;
}
";

async fn run() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = instance.enumerate_adapters(wgpu::Backends::VULKAN).await;
    let adapter = adapters
        .into_iter()
        .find(|adapter| adapter.get_info().name.contains("llvmpipe"))
        .expect("lavapipe");
    let (device, queue) = adapter.request_device(&Default::default()).await.expect("a device");
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(SHADER.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let numbers: Vec<u8> =
        [1.0_f32, 1e-8, 2.7, 12_582_912.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let numbers = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &numbers,
        usage: wgpu::BufferUsages::STORAGE,
    });
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 24, usage, mapped_at_creation: false })
    };
    let found = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let read = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: numbers.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: found.as_entire_binding() },
        ],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&found, 0, &read, 0, 24);
    queue.submit([encoder.finish()]);
    read.map_async(wgpu::MapMode::Read, .., |result| result.expect("a mapped buffer"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the device");
    let view = read.get_mapped_range(..).expect("a mapped buffer");
    let bytes: Vec<u8> = view.iter().copied().collect();
    let found: Vec<f32> =
        bytes.chunks(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
    println!("error of 1 + 1e-8: {:e}, by two casts {:e}, kept {:e}", found[0], found[2], found[4]);
    println!("2.7 rounded: {}, by two casts {}, kept {}", found[1], found[3], found[5]);
}

fn main() {
    pollster::block_on(run());
}
RUST
cargo run --quiet > out 2> err || { cat err >&2; exit 1; }
cat out
cat > expected <<'OUT'
error of 1 + 1e-8: 0e0, by two casts 0e0, kept 1e-8
2.7 rounded: 2.7, by two casts 2.7, kept 3
OUT
cmp -s out expected || { echo "the compiler no longer does what this says" >&2; exit 1; }
