//! Makes PTX the same on every machine, and says in it what Rust cannot.

/// How the comment begins that `#[launch_bounds]` of `cuda_std` leaves in a kernel's body.
const LAUNCH_BOUNDS: &str = "// launch_bounds ";

/// Puts the directives of launch bounds between the parameters and the body of the kernels whose body
/// has a comment that says them.
pub(crate) fn with_launch_bounds(ptx: &str) -> String {
    let mut out = String::with_capacity(ptx.len());
    for (number, kernel) in ptx.split(".entry").enumerate() {
        if number > 0 {
            out.push_str(".entry");
        }
        // The text before the first kernel has no bounds; what follows a kernel has no comment of one.
        match (launch_bounds(kernel), kernel.find("\n{")) {
            (Some((threads, blocks)), Some(body)) => {
                out.push_str(&kernel[..body]);
                out.push_str(&format!("\n.maxntid {threads}, 1, 1\n.minnctapersm {blocks}"));
                out.push_str(&kernel[body..]);
            }
            _ => out.push_str(kernel),
        }
    }
    out
}

/// The threads and the thread blocks of a kernel's comment.
fn launch_bounds(kernel: &str) -> Option<(u32, u32)> {
    let (_, said) = kernel.split_once(LAUNCH_BOUNDS)?;
    let mut numbers = said.lines().next()?.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Drops what tells of the machine and not of the kernels: comments, and the directives that name
/// source files. Runs of empty lines become one.
pub(crate) fn without_paths(ptx: &str) -> String {
    let mut clean = String::with_capacity(ptx.len());
    let mut after_empty_line = true;
    for line in ptx.lines() {
        let code = without_comment(line).trim_end();
        let directive = code.split_whitespace().next();
        let dropped =
            matches!(directive, Some(".file" | ".loc")) || code.is_empty() && after_empty_line;
        if dropped {
            continue;
        }
        clean.push_str(code);
        clean.push('\n');
        after_empty_line = code.is_empty();
    }
    clean
}

/// The line up to `//`, unless that is in a string.
fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let mut previous = '\0';
    for (at, character) in line.char_indices() {
        match character {
            '"' => in_string = !in_string,
            '/' if previous == '/' && !in_string => return &line[..at - 1],
            _ => {}
        }
        previous = character;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_file_names_go_and_code_stays() {
        let ptx = "//\n// Generated\n\n\n.version 8.0\n\t.file\t1 \"/home/me/lib.rs\"\n\
                   \t.loc 1 2 3\n\n\n\t// %bb.0:\n\tadd.s32 \t%r1, %r2, 1;   // /home/me\n\
                   \t.pragma \"a//b\";\n";
        assert_eq!(
            without_paths(ptx),
            ".version 8.0\n\n\tadd.s32 \t%r1, %r2, 1;\n\t.pragma \"a//b\";\n"
        );
    }

    #[test]
    fn launch_bounds_come_between_parameters_and_body() {
        let ptx = ".version 8.0\n.visible .entry a(\n\t.param .u64 p\n)\n{\n\tret;\n}\n\
                   .visible .entry b(\n\t.param .u64 p\n)\n{\n\t// begin inline asm\n\
                   \t// launch_bounds 256 4\n\tret;\n}\n";
        let bounded = with_launch_bounds(ptx);
        let (a, b) = bounded.split_once("entry b").unwrap();
        assert_eq!(
            format!("{a}entry b"),
            ptx.split_once("entry b").unwrap().0.to_owned() + "entry b"
        );
        assert!(b.starts_with("(\n\t.param .u64 p\n)\n.maxntid 256, 1, 1\n.minnctapersm 4\n{\n"));
        assert_eq!(bounded.matches(".maxntid").count(), 1);
    }

    #[test]
    fn cleaning_twice_changes_nothing() {
        let once = without_paths("\n\n.version 8.0\n\n\n// x\n\nret;\n");
        assert_eq!(without_paths(&once), once);
    }
}
