use dpo_kernel::Error;
#[repr(C)]
pub struct Report { pub(crate) code: u32, pub(crate) subject: u32, pub(crate) numbers: [usize;4], pub(crate) value: f64 }
impl Report {
    pub(crate) fn of(e: Error) -> Self {
        let mut r = Report { code: 99, subject: 0, numbers: [0;4], value: 0.0 };
        match e {
            Error::Length { buffer, expected, found } => { r.code = 1; r.subject = buffer as u32; r.numbers = [expected, found, 0, 0]; }
            Error::NonFiniteRows { first, count } => { r.code = 24; r.numbers = [first, count, 0, 0]; }
            Error::InvalidValue { buffer, index, value } => { r.code = 25; r.subject = buffer as u32; r.numbers = [index, 0, 0, 0]; r.value = value; }
            Error::Parameter { parameter, value } => { r.code = 26; r.subject = parameter as u32; r.value = value; }
            _ => {}
        }
        r
    }
}
