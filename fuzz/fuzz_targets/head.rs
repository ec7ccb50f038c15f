#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dpo_kernel_fuzz::target("head", data));
