//! Makes PTX the same on every machine.

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
    fn cleaning_twice_changes_nothing() {
        let once = without_paths("\n\n.version 8.0\n\n\n// x\n\nret;\n");
        assert_eq!(without_paths(&once), once);
    }
}
