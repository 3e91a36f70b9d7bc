//! Photos from beginning to end: drawn, cut into tiles, learnt, masked, scored. Accuracy is measured elsewhere (docs/results.md).

use std::path::Path;

use image::ImageEncoder;
use image::codecs::{jpeg::JpegEncoder, png::PngEncoder};
use image::metadata::Orientation;

use crate::support::program::{Place, Ran};
use crate::support::shared::shared;
use geoseg::mask::{Order, dice, run_lengths};
use geoseg::tiles::{Split, TileSet};
use geoseg::truth::Mask;

const DATASET: &str = "\
[tiles]
tile_px = 32
[split]
val_fraction = 0.25
[[photos]]
name = 'cars'
images = 'cars/images'
masks = 'cars/masks'
mask_suffix = '_mask'
";

fn run(place: &Place, line: &str) -> Ran {
    let ran = place.run(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, Some(0), "{line}\n{}", ran.stderr);
    ran
}

fn refused(place: &Place, line: &str) -> String {
    place.run(&line.split(' ').collect::<Vec<_>>()).error().to_owned()
}

/// Eight photos of four cars, and a tile set of them.
fn photos() -> Place {
    let place = Place::new();
    place.write("dataset.toml", DATASET);
    run(&place, "synth --kind photo -o cars --count 8 --size-px 90x60 --seed 4 --set views=2");
    run(&place, "tiles --config dataset.toml -o tiles");
    place
}

/// A model that learnt a mean mask of [`photos`] in a few steps.
fn model(place: &Place) {
    place.write(
        "train.toml",
        "[model]\narch = 'mean-mask'\ngsd_m = 1.0\n[data]\ncrop_px = 32\n[loss]\nfocal_weight = 0.0\n\
         bce_weight = 1.0\n[optimizer]\nlearning_rate = 0.5\n[run]\nsteps = 6\n",
    );
    run(place, "train --config train.toml --tiles tiles -o run --device cpu");
}

fn read(path: &Path) -> Mask {
    Mask::read(path).unwrap()
}

#[test]
fn photos_become_a_tile_set_split_by_photo() {
    let place = photos();
    let set = TileSet::open(place.path().join("tiles")).unwrap();
    assert_eq!((set.of(Split::Train).count(), set.of(Split::Val).count()), (6, 2));
    assert_eq!((set.info.scenes.len(), set.info.scenes[0].photos), (1, 8));
    assert_eq!(set.info.counts.len(), 2, "a line a split, whatever the number of photos");
    for tile in &set.tiles {
        let name = tile.image.file_stem().unwrap().to_str().unwrap();
        let folder = format!("{}/cars/32px", tile.split);
        assert_eq!(tile.image.parent().unwrap(), Path::new(&folder));
        assert_eq!(tile.mask, Path::new(&folder).join(format!("{name}_mask.png")));
        // Object where the mask covers most of a pixel: the shares of object agree.
        let mask = read(&place.path().join(format!("cars/masks/{name}_mask.png")));
        let share = |object: usize, of: usize| object as f64 / of as f64;
        let whole = share(mask.object.iter().filter(|object| **object).count(), 90 * 60);
        assert!((tile.building_fraction - whole).abs() < 0.03, "{name}");
        assert!(whole > 0.1 && tile.valid_fraction == 1.0 && tile.building_count == 1);
        let pixels = set.read(tile).unwrap();
        assert_eq!((pixels.width, pixels.bands), (32, 3));
        // The georeference in pixels of the photo tells its size.
        let grid = geoseg::geo::Scene::open(set.root.join(&tile.image)).unwrap().grid().clone();
        let [x0, y0, x1, y1] = grid.bounds();
        assert!((x1 - x0 - 90.0).abs() < 1e-9 && (y1 - y0 - 60.0).abs() < 1e-9);
    }
    let again = run(&place, "tiles --config dataset.toml -o tiles");
    assert!(again.stdout.contains("complete already"), "{}", again.stdout);
    run(&place, "tiles --config dataset.toml -o one --threads 1");
    for file in ["tiles.gpkg", "tileset.json", "contact_sheet.png"] {
        let bytes = |set: &str| std::fs::read(place.path().join(set).join(file)).unwrap();
        assert!(bytes("tiles") == bytes("one"), "{file} depends on the number of threads");
    }
}

#[test]
fn photos_can_be_cut_like_scenes_and_stand_beside_them() {
    let place = photos();
    run(&place, "synth -o . --name town --size-px 64");
    place.write(
        "both.toml",
        "[tiles]\ntile_px = 32\n[[scene]]\nimage = 'town.tif'\nfootprints = 'town.geojson'\nsplit = 'val'\n\
         [[photos]]\nimages = 'cars/images/car000*.jpg'\nmasks = 'cars/masks'\nmask_suffix = '_mask'\n\
         resize = false\nsplit = 'train'\n",
    );
    run(&place, "tiles --config both.toml -o both");
    let set = TileSet::open(place.path().join("both")).unwrap();
    assert_eq!(set.of(Split::Val).count(), 4);
    // 90 x 60 px are three by two tiles.
    assert_eq!(set.of(Split::Train).count(), 8 * 6);
    let tile = set.of(Split::Train).find(|tile| (tile.row, tile.col) == (28, 32)).unwrap();
    assert_eq!(tile.image, Path::new("train/images/x1/car0001_01_000028_000032.tif"));
    let mask = read(&place.path().join("cars/masks/car0001_01_mask.png"));
    let pixels = set.read(tile).unwrap();
    for (i, label) in pixels.mask.iter().enumerate() {
        assert_eq!(*label == 1, mask.object[(28 + i / 32) * 90 + 32 + i % 32]);
    }
}

#[test]
fn a_photo_without_a_usable_mask_is_named() {
    let place = photos();
    let masks = place.path().join("cars/masks");
    let mask = masks.join("car0002_01_mask.png");
    let tiles = "tiles --config dataset.toml -o other";
    image::GrayImage::new(91, 60).save(&mask).unwrap();
    let error = refused(&place, tiles);
    assert!(error.contains("car0002_01_mask.png") && error.contains("91 x 60 px"), "{error}");
    assert!(error.contains("90 x 60 px"), "{error}");
    std::fs::remove_file(&mask).unwrap();
    let error = refused(&place, tiles);
    assert!(error.contains("car0002_01.jpg: expected its mask, car0002_01_mask.png"), "{error}");
    std::fs::write(masks.join("car0002_01_mask.gif"), "GIF89a, and then nothing").unwrap();
    let error = refused(&place, tiles);
    assert!(error.contains("car0002_01_mask.gif"), "{error}");
    std::fs::write(&mask, "both").unwrap();
    let error = refused(&place, tiles);
    assert!(error.contains("expected one mask of a name"), "{error}");
    assert!(!place.path().join("other").exists(), "nothing is written");
    std::fs::remove_file(masks.join("car0002_01_mask.gif")).unwrap();
    let error = refused(&place, &format!("{tiles} --set photos.0.images=nowhere"));
    assert!(error.contains("nowhere: expected photos"), "{error}");
    let error = refused(&place, &format!("{tiles} --set tiles.gsd_m=[0.3]"));
    assert!(error.contains("`tiles.gsd_m`") && error.contains("photos"), "{error}");
}

#[test]
fn tiles_of_photos_are_all_different() {
    let place = photos();
    let crop = |from: &str, to: &str| {
        let whole = image::open(place.path().join("cars").join(from)).unwrap();
        whole.crop_imm(0, 0, 60, 60).save(place.path().join("cars").join(to)).unwrap();
    };
    // As large as a tile, a photo has its own name.
    crop("images/car0001_01.jpg", "images/car0001_01_000000_000000.jpg");
    crop("masks/car0001_01_mask.png", "masks/car0001_01_000000_000000_mask.png");
    place.write(
        "cut.toml",
        &format!("{DATASET}resize = false\n").replace("tile_px = 32", "tile_px = 60"),
    );
    let error = refused(&place, "tiles --config cut.toml -o cut --set tiles.overlap_px=0");
    assert!(error.contains("car0001_01_000000_000000"), "{error}");
    std::fs::remove_dir_all(place.path().join("cars/images")).unwrap();
    std::fs::rename(place.path().join("cars/masks"), place.path().join("cars/images")).unwrap();
    place.write("alone.toml", &DATASET.replace("cars/masks", "cars/images"));
    assert!(refused(&place, "tiles --config alone.toml -o alone").contains("masks alone"));
}

#[test]
fn outputs_are_neither_each_other_nor_photos() {
    let place = photos();
    model(&place);
    let fixed = "mask cars/images --model run/model.safetensors --device cpu --overwrite";
    let error = refused(&place, &format!("{fixed} --rle both.csv --sheet both.csv"));
    assert!(error.contains("both.csv: expected a file for each output"), "{error}");
    let error =
        refused(&place, &format!("{fixed} --truth cars/masks --truth-suffix _mask -o cars/masks"));
    assert!(error.contains("_mask.png: expected an output beside the inputs"), "{error}");
    let png = place.path().join("png");
    std::fs::create_dir(&png).unwrap();
    let photo = image::open(place.path().join("cars/images/car0001_01.jpg")).unwrap();
    photo.save(png.join("a.png")).unwrap();
    let error = refused(
        &place,
        "mask png --model run/model.safetensors --device cpu --overwrite --cutouts png",
    );
    assert!(error.contains("png/a.png: expected an output beside the inputs"), "{error}");
}

#[test]
fn a_gif_with_a_palette_is_a_mask() {
    // 2 x 1 px: white, black; the palette begins with white.
    let gif = [
        b"GIF89a".as_slice(),
        &[2, 0, 1, 0, 0x80, 0, 0, 255, 255, 255, 0, 0, 0],
        &[0x2c, 0, 0, 0, 0, 2, 0, 1, 0, 0, 2, 2, 0x44, 0x0a, 0, 0x3b],
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gif");
    std::fs::write(&path, gif.concat()).unwrap();
    let mask = read(&path);
    assert_eq!((mask.width, mask.height, mask.object), (2, 1, vec![true, false]));
}

#[test]
fn masks_are_as_large_as_their_photos_and_agree_with_their_run_lengths_and_cut_outs() {
    let place = photos();
    model(&place);
    let ran = run(
        &place,
        "mask cars/images --model run/model.safetensors -o masks --rle runs.csv --cutouts cutouts \
         --sheet sheet.png --truth cars/masks --truth-suffix _mask --json scores.json --threshold 0.4 --device cpu",
    );
    assert!(ran.stdout.contains("8 photos") && ran.stdout.contains("best Dice"), "{}", ran.stdout);
    let table = std::fs::read_to_string(place.path().join("runs.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.len(), lines[0]), (9, "img,rle_mask"));
    let scores = std::fs::read_to_string(place.path().join("scores.json")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    for (number, line) in lines[1..].iter().enumerate() {
        let (image, runs) = line.split_once(',').unwrap();
        let name = image.strip_suffix(".jpg").unwrap();
        let mask = read(&place.path().join(format!("masks/{name}_mask.png")));
        assert_eq!((mask.width, mask.height), (90, 60));
        assert_eq!(run_lengths::decode(runs, (90, 60), Order::Row).unwrap(), mask);
        let truth = read(&place.path().join(format!("cars/masks/{name}_mask.png")));
        let found = &scores["by_photo"][number];
        assert_eq!(found[0], name);
        assert_eq!(found[1], dice(&mask.object, &truth.object));
        let cutout = image::open(place.path().join(format!("cutouts/{name}.png"))).unwrap();
        let cutout = cutout.to_rgba8();
        for (pixel, object) in cutout.pixels().zip(&mask.object) {
            assert_eq!(pixel[3], if *object { 255 } else { 0 });
        }
    }
    assert_eq!(scores["threshold"], 0.4);
    let best = scores["best_dice"].as_f64().unwrap();
    assert!(best >= scores["dice"].as_f64().unwrap() && best > 0.3, "{best}");
    assert!(image::open(place.path().join("sheet.png")).unwrap().width() > 4 * 90);
    // Masks judged by their own run lengths are perfect; in the other order they are not.
    let judge = |order: &str| {
        let line = format!(
            "mask cars/images --model run/model.safetensors --truth runs.csv --threshold 0.4 \
             --rle-order {order} --device cpu"
        );
        run(&place, &line).stdout
    };
    assert!(judge("row").contains("Dice at 0.4  1.0000"), "{}", judge("row"));
    assert!(!judge("column").contains("1.0000"));
}

#[test]
fn masks_are_closed_and_opened_in_pixels_of_the_photo() {
    let place = photos();
    model(&place);
    let mask = "mask cars/images --model run/model.safetensors --threshold 0.4 --device cpu";
    run(&place, &format!("{mask} -o plain"));
    run(&place, &format!("{mask} -o closed --closing-px 9"));
    let judge = "--truth cars/masks --truth-suffix _mask";
    let ran = run(&place, &format!("{mask} -o opened --opening-px 12.5 {judge}"));
    assert!(ran.stdout.contains("before closing and opening"), "{}", ran.stdout);
    let read = |folder: &str| read(&place.path().join(folder).join("car0001_01_mask.png")).object;
    let (plain, closed, opened) = (read("plain"), read("closed"), read("opened"));
    let subset = |a: &[bool], b: &[bool]| a != b && a.iter().zip(b).all(|(a, b)| !a || *b);
    assert!(subset(&plain, &closed), "a closing only adds");
    assert!(subset(&opened, &plain), "an opening only removes");
    let error = refused(&place, &format!("{mask} -o other --closing-px=-1"));
    assert!(error.contains("--closing-px") && error.contains("found -1"), "{error}");
}

/// EXIF data that say nothing but how a picture is to be turned.
fn exif(orientation: u8) -> Vec<u8> {
    let tag = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [b"II*\0\x08\0\0\0\x01\0".as_slice(), &tag, &[0; 4]].concat()
}

/// Copies the photos of [`photos`] into `folder`, as a camera that was held askew writes them: `orientation` turns them back.
fn askew(place: &Place, folder: &str, orientation: u8) {
    let folder = place.path().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    // Quarter turns are undone by the opposite one, all others by themselves.
    let lying = match orientation {
        6 => 8,
        8 => 6,
        other => other,
    };
    for entry in std::fs::read_dir(place.path().join("cars/images")).unwrap() {
        let path = entry.unwrap().path();
        let mut photo = image::open(&path).unwrap();
        photo.apply_orientation(Orientation::from_exif(lying).unwrap());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = std::fs::File::create(folder.join(name + ".png")).unwrap();
        let mut encoder = PngEncoder::new(file);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        photo.write_with_encoder(encoder).unwrap();
    }
}

#[test]
fn photos_of_cameras_that_were_held_askew_are_read_upright_everywhere() {
    let place = photos();
    model(&place);
    let mask = |folder: &str| {
        let line = format!(
            "mask {folder} --model run/model.safetensors -o {folder}-masks --cutouts {folder}-cutouts \
             --truth cars/masks --truth-suffix _mask --device cpu"
        );
        run(&place, &line).stdout.lines().nth(1).unwrap().to_owned()
    };
    let cut = |folder: &str| {
        let sets = format!("--set photos.0.images={folder}");
        run(&place, &format!("tiles --config dataset.toml -o {folder}-tiles {sets}"));
        let set = TileSet::open(place.path().join(format!("{folder}-tiles"))).unwrap();
        set.tiles.iter().map(|tile| set.read(tile).unwrap()).collect::<Vec<_>>()
    };
    let bytes =
        |folder: String, name: &str| std::fs::read(place.path().join(folder).join(name)).unwrap();
    askew(&place, "upright", 1);
    let (score, tiles) = (mask("upright"), cut("upright"));
    for orientation in [3, 5, 6, 7, 8] {
        let folder = format!("turned{orientation}");
        askew(&place, &folder, orientation);
        assert_eq!(mask(&folder), score, "{orientation}");
        for (kind, name) in [("masks", "car0003_02_mask.png"), ("cutouts", "car0003_02.png")] {
            let (turned, upright) = (format!("{folder}-{kind}"), format!("upright-{kind}"));
            assert!(bytes(turned, name) == bytes(upright, name), "{orientation} {kind}");
        }
        for (turned, upright) in cut(&folder).iter().zip(&tiles) {
            assert_eq!(turned.mask, upright.mask, "{orientation}");
            // Averages of the same pixels in another order: the last bit may be rounded the other way.
            let near = turned.image.iter().zip(&upright.image).all(|(a, b)| a.abs_diff(*b) <= 1);
            assert!(near, "{orientation}");
        }
    }
}

#[test]
fn a_jpeg_says_how_to_turn_it_too() {
    let place = photos();
    model(&place);
    let photo = image::open(place.path().join("cars/images/car0001_01.jpg")).unwrap().rotate270();
    let file = std::fs::File::create(place.path().join("phone.jpg")).unwrap();
    let mut encoder = JpegEncoder::new(file);
    encoder.set_exif_metadata(exif(6)).unwrap();
    photo.write_with_encoder(encoder).unwrap();
    run(&place, "mask phone.jpg --model run/model.safetensors -o masks --device cpu");
    let mask = read(&place.path().join("masks/phone_mask.png"));
    assert_eq!((mask.width, mask.height), (90, 60), "the file has 60 x 90 px");
}

#[test]
fn what_cannot_be_masked_is_one_error() {
    let place = photos();
    model(&place);
    let mask = "mask cars/images --model run/model.safetensors --device cpu";
    run(&place, &format!("{mask} -o masks"));
    let error = refused(&place, &format!("{mask} -o masks"));
    assert!(error.contains("masks/car0001_01_mask.png: already exists"), "{error}");
    run(&place, &format!("{mask} -o masks --overwrite"));
    let error = refused(&place, &format!("{mask} -o other --truth cars/masks"));
    assert!(error.contains("car0001_01.jpg: expected its mask"), "{error}");
    let error = refused(&place, &format!("{mask} -o other --threshold 1.5"));
    assert!(error.contains("--threshold"), "{error}");
    let error = refused(&place, &format!("{mask} -o no/such/folder"));
    assert!(error.contains("existing folder"), "{error}");
    assert!(!place.path().join("other").exists());
    place.write("broken.jpg", "not a photo");
    let error = refused(
        &place,
        "mask broken.jpg --model run/model.safetensors --rle runs.csv --device cpu",
    );
    assert!(error.contains("broken.jpg") && !place.path().join("runs.csv").exists(), "{error}");
    let ran = place.run(&["mask", "cars/images", "--model", "run/model.safetensors"]);
    assert_eq!(ran.code, Some(2), "something is to be written or scored");
}

#[test]
fn drawn_photos_do_not_depend_on_threads_or_on_how_many_there_are() {
    let place = Place::new();
    let synth = "synth --kind photo --size-px 96x64 --seed 9 --set views=3";
    run(&place, &format!("{synth} -o a --count 4 --threads 1"));
    run(&place, &format!("{synth} -o b --count 5 --threads 3"));
    for file in ["images/car0001_03.jpg", "masks/car0002_01_mask.png"] {
        let bytes = |folder: &str| std::fs::read(place.path().join(folder).join(file)).unwrap();
        assert!(bytes("a") == bytes("b"), "{file}");
    }
    let error = refused(&place, &format!("{synth} -o a --count 4"));
    assert!(error.contains("car0001_01.jpg: already exists"), "{error}");
    let error = refused(&place, &format!("{synth} -o c --count 4 --gsd-m 0.3"));
    assert!(error.contains("`gsd_m`"), "{error}");
}

#[test]
fn run_lengths_are_those_of_the_reference_in_both_orders_and_directions() {
    let Some(path) = shared("reference/rle/rle.json") else { return };
    let reference: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let masks = reference["masks"].as_object().unwrap();
    let read = |name: &str| {
        let entry = &masks[name];
        let rows = entry["rows"].as_array().unwrap().iter().map(|row| row.as_str().unwrap());
        let object = rows.flat_map(|row| row.chars().map(|c| c == '1')).collect();
        let side = |key: &str| entry[key].as_u64().unwrap() as usize;
        Mask { width: side("width"), height: side("height"), object }
    };
    assert!(masks.len() > 5);
    for (name, entry) in masks {
        let mask = read(name);
        for (key, order) in [("rle_row_major", Order::Row), ("rle_column_major", Order::Column)] {
            let runs = entry[key].as_str().unwrap();
            assert_eq!(run_lengths::encode(&mask, order), runs, "{name} {key}");
            let back = run_lengths::decode(runs, (mask.width, mask.height), order).unwrap();
            assert_eq!(back, mask, "{name} {key}");
        }
    }
    for pair in reference["pairs"].as_array().unwrap() {
        let [a, b] = ["a", "b"].map(|key| read(pair[key].as_str().unwrap()).object);
        assert!((dice(&a, &b) - pair["dice"].as_f64().unwrap()).abs() < 1e-12, "{pair}");
    }
}
