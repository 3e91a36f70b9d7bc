//! Pictures for people: charts, contact sheets, overlays.
