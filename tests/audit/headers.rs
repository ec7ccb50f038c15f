//! The header of .npy files, byte by byte: what numpy writes is read, anything else is refused by
//! name.

use crate::audit::npy::{Problem, parse};
use crate::files::npy_bytes;

fn with_header(version: [u8; 2], header: &str, data: usize) -> Vec<u8> {
    let mut file = b"\x93NUMPY".to_vec();
    file.extend(version);
    if version[0] == 1 {
        file.extend((header.len() as u16).to_le_bytes());
    } else {
        file.extend((header.len() as u32).to_le_bytes());
    }
    file.extend(header.as_bytes());
    file.extend(vec![0; data]);
    file
}

fn read(file: &[u8]) -> Result<(&'static str, Vec<usize>, u64), Problem> {
    parse(file, file.len() as u64).map(|(kind, shape, offset)| (kind.name(), shape, offset))
}

#[test]
fn what_numpy_writes_is_read() {
    for (descr, size, name) in [
        ("<f2", 2, "f16"),
        ("<f4", 4, "f32"),
        ("<f8", 8, "f64"),
        ("|i1", 1, "i8"),
        ("<i2", 2, "i16"),
        ("<i4", 4, "i32"),
        ("<i8", 8, "i64"),
        ("|u1", 1, "u8"),
        ("<u2", 2, "u16"),
        ("<u4", 4, "u32"),
        ("<u8", 8, "u64"),
        ("|V2", 2, "2 bytes without a type"),
        ("<V2", 2, "2 bytes without a type"),
    ] {
        let file = npy_bytes(descr, "(3, 5)", &vec![0; 15 * size]);
        assert_eq!(read(&file), Ok((name, vec![3, 5], file.len() as u64 - 15 * size as u64)));
    }
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n";
    for version in [[1, 0], [2, 0], [3, 0]] {
        let file = with_header(version, header, 12);
        assert_eq!(read(&file), Ok(("f32", vec![3], file.len() as u64 - 12)), "{version:?}");
    }
    // Another order and other quotes; columns first say nothing of one dimension.
    let header = "{\"shape\":(2 , ),'fortran_order':True,'descr':\"<f4\"}";
    assert!(read(&with_header([1, 0], header, 8)).is_ok());
    assert_eq!(read(&npy_bytes("<f4", "()", &[0; 4])).unwrap().1, Vec::<usize>::new());
}

#[test]
fn what_it_does_not_write_is_refused() {
    let good =
        |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
    let problem = |header: &str, data| read(&with_header([1, 0], header, data)).unwrap_err();
    assert_eq!(read(b"").unwrap_err(), Problem::Magic);
    assert_eq!(read(b"\x93NUMPX\x01\x00").unwrap_err(), Problem::Magic);
    assert_eq!(read(b"\x93NUMPY\x01").unwrap_err(), Problem::Cut);
    assert_eq!(read(b"\x93NUMPY\x01\x00\x10").unwrap_err(), Problem::Cut);
    assert_eq!(read(b"\x93NUMPY\x01\x00\x10\x00{").unwrap_err(), Problem::Cut);
    assert_eq!(read(&with_header([4, 0], &good("(1,)"), 4)).unwrap_err(), Problem::Version(4, 0));
    assert_eq!(read(&with_header([1, 1], &good("(1,)"), 4)).unwrap_err(), Problem::Version(1, 1));
    let long = " ".repeat(65_537);
    assert_eq!(read(&with_header([2, 0], &long, 0)).unwrap_err(), Problem::TooLong(65_537));
    // One number too many, one too few, and more than a file can hold.
    for data in [11, 13] {
        assert!(
            matches!(problem(&good("(3,)"), data), Problem::Size { found, .. } if found == data as u64)
        );
    }
    let huge = "(4294967296, 4294967296, 4294967296)";
    let text = problem(&good(huge), 4).to_string();
    assert!(text.contains("more than there can be"), "{text}");
    assert_eq!(
        problem("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", 8),
        Problem::Fortran(vec![1, 2])
    );
    assert_eq!(
        problem("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4),
        Problem::BigEndian(">f4".into())
    );
    for descr in ["<c8", "|O", "<f16", "f4", "|b1", ""] {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1,)}}");
        assert_eq!(problem(&header, 4), Problem::Kind(descr.into()));
    }
    for (missing, header) in [
        ("descr", "{'fortran_order': False, 'shape': (1,)}"),
        ("fortran_order", "{'descr': '<f4', 'shape': (1,)}"),
        ("shape", "{'descr': '<f4', 'fortran_order': False}"),
    ] {
        assert_eq!(problem(header, 4), Problem::Missing(missing));
    }
    let twice = "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}";
    assert_eq!(problem(twice, 4), Problem::Twice("descr"));
    let unknown = "{'descr': '<f4', 'order': 1, 'fortran_order': False, 'shape': (1,)}";
    assert_eq!(problem(unknown, 4), Problem::Field("order".into()));
}

#[test]
fn syntax_is_named_by_its_byte() {
    for (header, at) in [
        ("", 0),
        ("[]", 0),
        ("{'descr' '<f4'}", 9),
        ("{descr: '<f4'}", 1),
        ("{'descr': <f4}", 10),
        ("{'descr': '<f4}", 15),
        ("{'descr': [('a', '<f4')], }", 10),
        ("{'fortran_order': 1}", 18),
        ("{'shape': 3}", 10),
        ("{'shape': (3)}", 12),
        ("{'shape': (-3,)}", 11),
        ("{'shape': (3, , )}", 14),
        ("{'shape': (99999999999999999999,)}", 11),
        ("{'shape': (3,) 'descr': '<f4'}", 15),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 56),
    ] {
        let found = read(&with_header([1, 0], header, 4)).unwrap_err();
        assert_eq!(found, Problem::Syntax(at), "{header}");
    }
}

/// No bytes, whole or cut, do more than be refused.
#[test]
fn any_bytes_are_refused_or_read() {
    let file = npy_bytes("<f4", "(3, 5)", &[0; 60]);
    for cut in 0..file.len() {
        assert!(read(&file[..cut]).is_err(), "cut at {cut}");
    }
    let mut read_all_the_same = 0;
    for at in 0..file.len() - 60 {
        for byte in [0, b' ', b'(', b'\'', b'9', b'}', 0xff] {
            let mut other = file.clone();
            other[at] = byte;
            read_all_the_same += usize::from(read(&other).is_ok());
        }
    }
    assert!(read_all_the_same < file.len(), "most changes are seen: {read_all_the_same}");
}
