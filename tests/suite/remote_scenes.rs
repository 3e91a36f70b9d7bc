//! Scenes on a server, read range by range; catalogues of them; results written to a server.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::files::FileServer;
use crate::support::program::{Place, Ran};
use crate::support::untrained::model;
use geoseg::geo::raster::{Compression, write_geotiff};
use geoseg::geo::{Crs, GeoTransform, Grid, to_cog};
use serde_json::json;

const COG: &str = "image/tiff; application=geotiff; profile=cloud-optimized";

/// A cloud-optimized scene of noise, which does not compress, `east` metres from a corner near Kathmandu.
fn scene(folder: &Path, east: f64) -> Vec<u8> {
    let side = 1536;
    let grid = Grid {
        width: side,
        height: side,
        transform: GeoTransform([330_000.0 + east, 0.3, 0.0, 3_060_000.0, 0.0, -0.3]),
        crs: Some(Crs::from_epsg(32645).unwrap()),
        gsd_m: None,
    };
    let mut state = 9_u32;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let data: Vec<u8> = (0..3 * side * side).map(noise).collect();
    let (raw, cog) = (folder.join("raw.tif"), folder.join("cog.tif"));
    write_geotiff(&raw, &grid, 3, &data, None, Compression::None).unwrap();
    to_cog(&raw, &cog, "average").unwrap();
    std::fs::read(&cog).unwrap()
}

fn item(id: &str, href: &str, west: f64) -> serde_json::Value {
    json!({
        "type": "Feature", "stac_version": "1.0.0", "id": id,
        "bbox": [west, 27.64, west + 0.006, 27.66],
        "properties": { "datetime": "2024-05-01T04:05:06Z" },
        "assets": {
            "thumbnail": { "href": "none.png", "type": "image/png", "roles": ["thumbnail"] },
            "image": { "href": href, "type": COG, "roles": ["data"] },
        },
    })
}

struct Served {
    place: Place,
    server: FileServer,
    scene_bytes: usize,
}

fn served() -> Served {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (scene(folder.path(), 0.0), scene(folder.path(), 50_000.0));
    let scene_bytes = first.len();
    let text = |value: serde_json::Value| value.to_string().into_bytes();
    let links = json!({ "type": "Collection", "links": [
        { "rel": "self", "href": "./collection.json" },
        { "rel": "item", "href": "./items/a.json" },
        { "rel": "item", "href": "./items/b.json" },
    ]});
    let files = BTreeMap::from([
        ("/bucket/a.tif".to_owned(), first.clone()),
        ("/account/box/a.tif".to_owned(), first.clone()),
        ("/a.tif".to_owned(), first),
        ("/b.tif".to_owned(), second),
        ("/items/a.json".to_owned(), text(item("a", "../a.tif", 85.276))),
        ("/items/b.json".to_owned(), text(item("b", "../b.tif", 85.783))),
        ("/collection.json".to_owned(), text(links)),
    ]);
    model(&place.path().join("m.safetensors"), 3, 0.3);
    Served { place, server: FileServer::new(files), scene_bytes }
}

impl Served {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    /// Runs inference on a corner of 300 px of the first scene.
    fn infer(&self, scene: &str, more: &[&str]) -> Ran {
        let options = "--model m.safetensors --device cpu --bbox 85.2772,27.6510,85.2780,27.6517 \
                       --set inference.window_px=128 --set inference.overlap_px=32 -v";
        let azure = format!(
            "DefaultEndpointsProtocol=http;AccountName=account;AccountKey=a2V5;BlobEndpoint=http://{}/account",
            self.server.address
        );
        let output = Command::new(env!("CARGO_BIN_EXE_geoseg"))
            .arg("infer")
            .arg(scene)
            .args(options.split_whitespace())
            .args(more)
            .current_dir(self.place.path())
            .env_remove("RUST_LOG")
            .envs([
                ("AWS_S3_ENDPOINT", self.server.address.as_str()),
                ("AWS_HTTPS", "NO"),
                ("AWS_VIRTUAL_HOSTING", "FALSE"),
                ("AWS_NO_SIGN_REQUEST", "YES"),
                ("CPL_GS_ENDPOINT", &format!("http://{}/", self.server.address)),
                ("GS_NO_SIGN_REQUEST", "YES"),
                ("AZURE_STORAGE_CONNECTION_STRING", &azure),
            ])
            .output()
            .unwrap();
        Ran::from(output)
    }
}

#[test]
fn a_part_of_a_remote_scene_is_read_in_few_requests_and_few_bytes() {
    let served = served();
    let ran = served.infer(&served.url("/a.tif"), &["-o", "b.geojson"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let seen = served.server.seen();
    assert!(seen.requests.iter().all(|(_, path)| path == "/a.tif"), "{:?}", seen.requests);
    let (requests, bytes) = (seen.requests.len(), seen.sent["/a.tif"]);
    assert!(requests <= 25, "{requests} requests");
    assert!(bytes * 2 < served.scene_bytes, "{bytes} of {} bytes", served.scene_bytes);
}

#[test]
fn a_busy_server_is_asked_again() {
    let served = served();
    served.server.refuse(2);
    let ran = served.infer(&served.url("/a.tif"), &["-o", "b.geojson"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_collection_is_its_items_and_those_outside_the_box_are_not_fetched() {
    let served = served();
    let ran = served.infer(&served.url("/collection.json"), &["-o", "b.gpkg"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("taken 2024-05-01T04:05:06Z"), "{}", ran.stderr);
    let asked: Vec<String> =
        served.server.seen().requests.into_iter().map(|(_, path)| path).collect();
    assert!(asked.contains(&"/items/b.json".to_owned()), "{asked:?}");
    assert!(asked.contains(&"/a.tif".to_owned()) && !asked.contains(&"/b.tif".to_owned()));

    let local = item("here", &served.url("/a.tif"), 85.276);
    served.place.write("item.json", &local.to_string());
    let all = ["-o", "c.geojson", "--set", "polygonize.threshold=0.01"];
    let ran = served.infer("item.json", &all);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let buildings = std::fs::read_to_string(served.place.path().join("c.geojson")).unwrap();
    let buildings: serde_json::Value = serde_json::from_str(&buildings).unwrap();
    assert_eq!(buildings["features"][0]["properties"]["date"], "2024-05-01T04:05:06Z");
}

#[test]
fn a_catalogue_without_scenes_is_one_clear_error() {
    let served = served();
    for (name, text, expected) in [
        ("broken.json", "{", "JSON"),
        ("other.json", "{\"type\": \"Polygon\"}", "`Polygon`"),
        ("far.json", &item("far", "x.tif", 10.0).to_string(), "outside --bbox"),
        ("empty.json", "{\"type\": \"Feature\", \"assets\": {}}", "asset"),
    ] {
        served.place.write(name, text);
        let ran = served.infer(name, &["-o", "b.gpkg"]);
        let last = ran.stderr.lines().last().unwrap_or_default();
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(last.contains(name) && last.contains(expected), "{last}");
        assert!(!served.place.path().join("b.gpkg").exists());
    }
    let ran = served.infer(&served.url("/nothing.json"), &["-o", "b.gpkg"]);
    assert!(ran.stderr.contains("nothing.json"), "{}", ran.stderr);
}

#[test]
fn scenes_come_from_object_stores_and_results_go_there_once_they_are_whole() {
    for (store, folder) in [
        ("/vsis3/bucket", "/bucket"),
        ("s3://bucket", "/bucket"),
        ("gs://bucket", "/bucket"),
        ("az://box", "/account/box"),
    ] {
        let served = served();
        let [buildings, scores] = ["b.gpkg", "s.tif"].map(|name| format!("{store}/{name}"));
        let arguments = ["-o", buildings.as_str(), "--scores", scores.as_str()];
        let ran = served.infer(&format!("{store}/a.tif"), &arguments);
        assert_eq!(ran.code, Some(0), "{store}: {}", ran.stderr);
        let seen = served.server.seen();
        assert!(seen.sent[&format!("{folder}/a.tif")] < served.scene_bytes / 2, "{store}");
        let names: Vec<&str> = seen.put.keys().map(String::as_str).collect();
        let expected = ["b.gpkg", "b.gpkg.toml", "s.tif", "s.tif.toml"];
        assert_eq!(names, expected.map(|name| format!("{folder}/{name}")));
        assert!(seen.put[&format!("{folder}/b.gpkg")].starts_with(b"SQLite format 3"));
        assert!(seen.put[&format!("{folder}/s.tif")].starts_with(b"II"));
        assert_eq!(served.place.names(), ["m.safetensors"], "nothing stays here");
    }
}
