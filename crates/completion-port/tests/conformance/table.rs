//! How tests are registered, and what the register must obey.

use std::collections::HashSet;

use crate::{CHAPTERS, exceptions::EXCEPTIONS};

/// The last line of the list.
const LINES: u32 = 193;

/// A test, before it has a driver.
#[derive(Debug)]
pub struct Test {
    /// As the harness knows it, the driver left out, behind the crate's name.
    pub path: &'static str,
    /// The lines that it proves.
    pub lines: &'static [&'static str],
    /// What it asserts.
    pub says: &'static str,
}

impl Test {
    /// As the harness knows it, the driver left out.
    pub fn name(&self) -> &'static str {
        self.path.split_once("::").map_or(self.path, |(_, name)| name)
    }
}

/// Registers a chapter's tests: each is a function of a driver, with the lines that it proves and a sentence that says what it asserts, and
/// becomes a test on each driver: `taking::zero_polls::readiness`.
macro_rules! conformance {
    ($($test:ident [$($line:ident)+] $says:literal;)+) => {
        pub const TESTS: &[&$crate::table::Test] = &[$(&$test::TEST),+];

        $(mod $test {
            pub(super) const TEST: $crate::table::Test = $crate::table::Test {
                path: module_path!(),
                lines: &[$(stringify!($line)),+],
                says: $says,
            };
            const BODY: fn(completion_port::DriverKind) = super::$test;

            $crate::sys::on_each_driver!();
        })+
    };
}

/// One of those: a test on one driver.
macro_rules! on_driver {
    ($name:ident $driver:literal) => {
        #[test]
        fn $name() {
            $crate::run::run($driver, &TEST, BODY);
        }
    };
}

fn all() -> impl Iterator<Item = &'static Test> {
    CHAPTERS.iter().copied().flatten().copied()
}

#[test]
fn every_test_names_lines_of_the_list_and_says_what_it_asserts() {
    let mut names = HashSet::new();
    for test in all() {
        assert!(names.insert(test.name()), "{} is there twice", test.name());
        assert!(test.says.len() > 20, "{} says too little", test.name());
        for line in test.lines {
            let number: Option<u32> = line.strip_prefix('S').and_then(|n| n.parse().ok());
            assert!(number.is_some_and(|n| (1..=LINES).contains(&n)), "{}: {line}", test.name());
        }
    }
}

#[test]
fn every_exception_names_a_test_and_they_are_few() {
    let names: HashSet<_> = all().map(Test::name).collect();
    let mut seen = HashSet::new();
    for exception in EXCEPTIONS {
        assert!(names.contains(exception.test), "there is no test {}", exception.test);
        assert!(seen.insert(exception.test), "{} twice", exception.test);
        assert!(exception.reason.len() > 10, "{} has no reason", exception.test);
    }
    // What Wine shows on one of the drivers, it shows.
    let nowhere = EXCEPTIONS.iter().filter(|exception| exception.drivers.len() > 1).count();
    assert!(nowhere * 20 <= names.len(), "more than 5 % of {} tests", names.len());
}
