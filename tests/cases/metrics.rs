//! The metrics, and the texts that list them.

use std::fs;
use std::path::Path;

use backend::telemetry::Metric;
use strum::VariantArray;

#[test]
fn every_metric_is_listed_in_a_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readmes = readmes(root);
    for metric in Metric::VARIANTS {
        let listed = format!("`{}`", metric.name());
        assert!(readmes.contains(&listed), "no README lists {listed}");
    }
}

/// The texts of the top README and of those in folders that a reader uses on their own.
fn readmes(root: &Path) -> String {
    let folders = ["functions", "shared"].map(|parent| fs::read_dir(root.join(parent)).unwrap());
    let folders = folders.into_iter().flatten().map(|folder| folder.unwrap().path());
    let tops = ["", "events", "functions", "shared", "tests"].map(|folder| root.join(folder));
    let files = tops.into_iter().chain(folders).map(|folder| folder.join("README.md"));
    files.filter_map(|file| fs::read_to_string(file).ok()).collect()
}
