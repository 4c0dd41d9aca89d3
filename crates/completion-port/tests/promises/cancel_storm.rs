//! Promise 2 and 9 under a storm of cancels: see [`crate::util::cancels`].

use completion_port::DriverKind;

use crate::util::cancels::storm;

crate::on_each_driver!(cancels_lose_nothing);

fn cancels_lose_nothing(driver: DriverKind) {
    storm(driver, 1, false);
}
