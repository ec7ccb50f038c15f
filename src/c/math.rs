//! The scalar functions, in `double` and in `float`.

use crate::math;

macro_rules! scalars {
    ($($name:ident, $name_f32:ident: $function:ident($($argument:ident),*);)*) => {
        $(
            #[doc = concat!("[`math::", stringify!($function), "`]")]
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($($argument: f64),*) -> f64 {
                math::$function($($argument),*)
            }

            #[doc = concat!("[`math::f32::", stringify!($function), "`]")]
            #[unsafe(no_mangle)]
            pub extern "C" fn $name_f32($($argument: f32),*) -> f32 {
                math::f32::$function($($argument),*)
            }
        )*
    };
}

scalars! {
    dpo_sigmoid, dpo_sigmoid_f32: sigmoid(x);
    dpo_log_sigmoid, dpo_log_sigmoid_f32: log_sigmoid(x);
    dpo_softplus, dpo_softplus_f32: softplus(x);
    dpo_log1mexp, dpo_log1mexp_f32: log1mexp(x);
    dpo_logaddexp, dpo_logaddexp_f32: logaddexp(a, b);
}
