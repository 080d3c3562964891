//! The harvest: the pipeline that a newcomer runs first.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use crate::{
    page,
    world::{Run, World, examples, replace},
};

const STEPS: [&str; 8] = [
    "ingest",
    "validate",
    "split",
    "mean",
    "linear",
    "neighbours",
    "compare",
    "report",
];

fn run_to_the_end(world: &World, directory: &Path) -> Run {
    let run = world.run(&directory.join("pipeline.yaml")).expect(0);
    assert_eq!(run.steps(), STEPS.map(|step| (step, "completed")).into());
    run
}

#[test]
fn it_leaves_a_report() {
    let world = World::new();
    let run = run_to_the_end(&world, &examples().join("harvest"));
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(run.file("report.md"));
    });
    let paths = [run.path("report.html"), run.path("report.md")];
    assert_eq!(
        world.log("report"),
        format!(
            "report: {}\nas text: {}\n",
            paths[0].display(),
            paths[1].display()
        )
    );
}

#[test]
fn the_page_says_the_same_as_the_text() {
    let world = World::new();
    let run = run_to_the_end(&world, &examples().join("harvest"));
    let html = run.file("report.html");
    let page = page::parse(&html);

    let tables: Vec<_> = page::named(page.root(), "table").map(page::rows).collect();
    assert_eq!(tables.len(), 3);
    let markdown = run.file("report.md");
    let in_text: Vec<Vec<String>> = markdown.lines().filter_map(markdown_row).collect();
    for row in tables.iter().flatten() {
        assert!(in_text.contains(row), "{row:?} is not in the text");
    }
    // Every harvest of the season, for every model; every harvest learned from.
    let dots = |class: &str| {
        let circles = page
            .descendants()
            .filter_map(|node| node.attribute("class"));
        circles.filter(|have| have.starts_with(class)).count()
    };
    assert_eq!(dots("dot "), 3 * run.file("test.csv").lines().count());
    let in_legend = 3;
    assert_eq!(
        dots("mark "),
        run.file("train.csv").lines().count() + in_legend
    );
}

/// The cells of a line of a Markdown table, less what sets them off.
fn markdown_row(line: &str) -> Option<Vec<String>> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    Some(
        cells
            .map(|cell| cell.trim_matches(['*', '`']).to_owned())
            .collect(),
    )
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let first = World::new();
    let second = World::new();
    let runs = [&first, &second].map(|world| run_to_the_end(world, &examples().join("harvest")));
    for file in ["report.html", "report.md"] {
        assert_eq!(runs[0].file(file), runs[1].file(file), "{file}");
    }
}

/// The numbers of a file of rows with commas, by a key of its leading columns.
fn table(text: &str, key_columns: usize) -> BTreeMap<String, Vec<f64>> {
    let rows = text.lines().map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let (key, rest) = cells.split_at(key_columns);
        let numbers = rest.iter().map(|cell| cell.parse().unwrap()).collect();
        (key.join(","), numbers)
    });
    rows.collect()
}

#[test]
fn the_numbers_are_right() {
    let world = World::new();
    let run = run_to_the_end(&world, &examples().join("harvest"));
    let train = table(&run.file("train.csv"), 3);
    let compared = table(&run.file("compared.csv"), 2);
    let comparison = table(&run.file("comparison.csv"), 2);
    assert!(!train.keys().any(|key| key.contains(",2024,")), "a leak");
    assert_eq!((train.len(), compared.len()), (345, 70));

    let close = |left: f64, right: f64| assert!((left - right).abs() < 2e-6, "{left} {right}");
    let count = 70.0;
    let mean_of = |values: &dyn Fn(&[f64]) -> f64| {
        compared.values().map(|row| values(row)).sum::<f64>() / count
    };
    let actual_mean = mean_of(&|row| row[1]);
    let spread = mean_of(&|row| (row[1] - actual_mean).powi(2));
    let order = [
        "linear,Linear regression",
        "neighbours,Nearest neighbours",
        "mean,Mean",
    ];
    let columns = run.file("comparison.csv");
    let ranked: Vec<&str> = columns.lines().collect();
    for (rank, model) in order.into_iter().enumerate() {
        assert!(ranked[rank].starts_with(model), "{ranked:?}");
        let error = |row: &[f64]| row[2 + rank] - row[1];
        let squared = mean_of(&|row| error(row).powi(2));
        let said = &comparison[model];
        close(said[1], squared.sqrt());
        close(said[2], mean_of(&|row| error(row).abs()));
        close(said[3], 1.0 - squared / spread);
        close(said[4], mean_of(&error));
    }
    let yields = train.values().map(|row| row[3]);
    let average = yields.sum::<f64>() / 345.0;
    close(mean_of(&|row| row[4]), average);
    // Of what made the data, noise of 0.43 t/ha cannot be predicted. A model that
    // is better knows the answers, one that is much worse has learned little.
    let linear = comparison[order[0]][0];
    assert!((0.43..0.65).contains(&linear), "{linear}");
}

#[test]
fn the_regression_is_the_least_squares_fit() {
    let world = World::new();
    let run = run_to_the_end(&world, &examples().join("harvest"));
    let texts = [run.file("train.csv"), run.file("test.csv")];
    let [train, test] = texts.each_ref().map(|text| rows_with_terms(text));
    let coefficients = gradient_descent(&train);
    let predictions = table(&run.file("linear.predictions"), 2);
    assert_eq!(predictions.len(), test.len());
    for row in &test {
        let expected = dot(&row.terms, &coefficients);
        let said = predictions[&row.key][0];
        assert!(
            (said - expected).abs() < 1e-4,
            "{}: {said} {expected}",
            row.key
        );
    }
}

/// A harvest as the regression sees it. Scaled in another way than the script
/// does: the fit does not depend on it.
struct Row {
    key: String,
    terms: [f64; 8],
    tonnes: f64,
}

fn rows_with_terms(text: &str) -> Vec<Row> {
    let rows = text.lines().map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |column: usize| cells[column].parse::<f64>().unwrap();
        let rain = (number(4) - 400.0) / 80.0;
        let nitrogen = (number(5) - 150.0) / 45.0;
        let soil = |kind: &str| f64::from(u8::from(cells[2] == kind));
        Row {
            key: format!("{},{}", cells[0], cells[1]),
            terms: [
                1.0,
                (number(3) - 14.0) / 10.0,
                rain,
                rain * rain,
                nitrogen,
                nitrogen * nitrogen,
                soil("clay"),
                soil("sand"),
            ],
            tonnes: cells.get(6).map_or(0.0, |_| number(6)),
        }
    });
    rows.collect()
}

fn dot(left: &[f64; 8], right: &[f64; 8]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

/// Least squares by going downhill: nothing in common with solving equations.
fn gradient_descent(rows: &[Row]) -> [f64; 8] {
    let mut coefficients = [0.0; 8];
    for _ in 0..5_000 {
        let mut slope = [0.0; 8];
        for row in rows {
            let error = dot(&row.terms, &coefficients) - row.tonnes;
            for (slope, term) in slope.iter_mut().zip(row.terms) {
                *slope += error * term;
            }
        }
        for (coefficient, slope) in coefficients.iter_mut().zip(slope) {
            *coefficient -= 0.1 * slope / rows.len() as f64;
        }
    }
    coefficients
}

#[test]
fn too_many_bad_rows_end_the_run() {
    let world = World::new();
    let directory = world.copy("harvest");
    replace(
        &directory.join("pipeline.yaml"),
        r#"MAX_REJECTED_PERCENT: "10""#,
        r#"MAX_REJECTED_PERCENT: "1""#,
    );
    let run = world.run(&directory.join("pipeline.yaml")).expect(1);
    let mut expected = BTreeMap::from(STEPS.map(|step| (step, "skipped")));
    expected.extend([("ingest", "completed"), ("validate", "failed")]);
    assert_eq!(run.steps(), expected);
    let log = world.log("validate");
    let reason =
        "error: 4.6 % of the harvests are rejected, more than MAX_REJECTED_PERCENT=1 allows";
    assert!(log.contains(reason), "{log}");
}

#[test]
fn another_season_can_be_predicted() {
    let world = World::new();
    let directory = world.copy("harvest");
    replace(
        &directory.join("pipeline.yaml"),
        r#"TEST_SEASON: "2024""#,
        r#"TEST_SEASON: "2022""#,
    );
    let run = run_to_the_end(&world, &directory);
    let title = "# Wheat harvest 2022: linear regression predicts best\n";
    assert!(run.file("report.md").starts_with(title));
    assert!(
        world
            .log("split")
            .ends_with("138 of later seasons left out\n")
    );
    let html = run.file("report.html");
    let page = page::parse(&html);
    assert!(page::text(page.root()).contains("138 of later seasons"));
}

#[test]
fn whatever_stands_in_a_row_the_report_is_whole() {
    let world = World::new();
    let directory = world.copy("harvest");
    let hostile = r#"</code><script>a && b</script> | `x` \ "y" 'z' %s"#;
    let file = directory.join("data/harvests.csv");
    let text = fs::read_to_string(&file).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    fs::write(&file, format!("{header}\n{hostile}\n{rest}")).unwrap();
    let mut file = OpenOptions::new().append(true).open(&file).unwrap();
    file.write_all(b"\x01\x02,2020,1,300,\xff,6\n").unwrap();
    drop(file);

    let run = run_to_the_end(&world, &directory);
    let html = run.file("report.html");
    let page = page::parse(&html);
    assert_eq!(page::named(page.root(), "script").count(), 0);
    let shown = hostile.to_uppercase();
    let codes: Vec<String> = page::named(page.root(), "code").map(page::text).collect();
    assert!(codes.contains(&shown), "{codes:?}");
    let quality = page::named(page.root(), "table").last().unwrap();
    let row = &page::rows(quality)[0];
    assert_eq!(row[..], ["not 6 columns", &shown, "3", "2"]);
    let markdown = run.file("report.md");
    let row = markdown.lines().find(|line| line.starts_with("| not 6"));
    let cells = markdown_row(row.unwrap()).unwrap();
    assert_eq!(cells.len(), 4, "{cells:?}");
}
