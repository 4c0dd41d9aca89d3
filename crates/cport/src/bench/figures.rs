//! Figures as a person reads them.

/// A number with a comma between each three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (n, digit) in digits.char_indices() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something.
pub fn of(number: usize, what: &str) -> String {
    format!("{} {what}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// Microseconds in the unit that fits.
pub fn time(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Bytes in the unit that fits.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1024.0 => format!("{bytes:.0} B"),
        bytes if bytes < 1_048_576.0 => format!("{:.1} KiB", bytes / 1024.0),
        bytes if bytes < 1_073_741_824.0 => format!("{:.1} MiB", bytes / 1_048_576.0),
        bytes => format!("{:.2} GiB", bytes / 1_073_741_824.0),
    }
}

/// Messages of that size for each second, and their bytes.
pub fn per_second(messages: f64, size: usize) -> String {
    format!("{} messages/s, {}/s", rate(messages), bytes(messages * size as f64))
}

/// Messages for each second: as exact as it means something.
pub fn rate(messages: f64) -> String {
    if messages < 100.0 { format!("{messages:.1}") } else { count(messages.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((of(1, "thread"), of(2000, "byte")), ("1 thread".into(), "2,000 bytes".into()));
        assert_eq!([1.25, 1250.0, 2.5e6].map(time), ["1.2 us", "1.25 ms", "2.50 s"]);
        assert_eq!(
            [512.0, 2048.0, 3e6, 2e9].map(bytes),
            ["512 B", "2.0 KiB", "2.9 MiB", "1.86 GiB"]
        );
        assert_eq!(per_second(1000.4, 64), "1,000 messages/s, 62.5 KiB/s");
        assert_eq!(rate(2.5), "2.5");
    }
}
