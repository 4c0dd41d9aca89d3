//! Whether this is Wine, whose ports take a limit and do not keep it.

use windows_sys::{
    Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress},
    core::w,
};

pub(super) fn is_here() -> bool {
    // SAFETY: a library that every process has.
    let ntdll = unsafe { GetModuleHandleW(w!("ntdll.dll")) };
    // SAFETY: a loaded library, or none, and a name; the address is only looked at.
    unsafe { GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()) }.is_some()
}
