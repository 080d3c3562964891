//! The report as a page: what must hold whatever it says.

use roxmltree::{Document, Node, ParsingOptions};

/// Parses a page, and checks that it is well-formed, complete in itself, and that
/// its charts are charts.
pub(crate) fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let page = Document::parse_with_options(html, options).unwrap();
    assert_eq!(page.root_element().tag_name().name(), "html");
    for node in page.descendants().filter(Node::is_element) {
        for attribute in ["src", "href"] {
            assert_eq!(node.attribute(attribute), None, "needs another file");
        }
    }
    let charts: Vec<Node<'_, '_>> = named(page.root(), "svg").collect();
    assert!(charts.len() >= 5, "{} charts", charts.len());
    charts.into_iter().for_each(check_chart);
    page
}

/// Elements of a name, in their order.
pub(crate) fn named<'a>(
    node: Node<'a, 'a>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants()
        .filter(move |node| node.tag_name().name() == name)
}

/// All text below a node.
pub(crate) fn text(node: Node<'_, '_>) -> String {
    let texts = node.descendants().filter(Node::is_text);
    texts.filter_map(|node| node.text()).collect()
}

/// Rows of a table's body.
pub(crate) fn rows(table: Node<'_, '_>) -> Vec<Vec<String>> {
    let body = named_child(table, "tbody");
    body.children()
        .filter(Node::is_element)
        .map(|row| {
            let cells = row.children().filter(Node::is_element);
            cells.map(text).collect()
        })
        .collect()
}

fn named_child<'a>(node: Node<'a, 'a>, name: &str) -> Node<'a, 'a> {
    node.children()
        .find(|child| child.tag_name().name() == name)
        .unwrap()
}

/// Has a name, and everything lies on its canvas.
fn check_chart(chart: Node<'_, '_>) {
    assert_ne!(chart.attribute("aria-label").unwrap(), "");
    let canvas: Vec<f64> = numbers(chart.attribute("viewBox").unwrap()).collect();
    let [_, _, width, height] = canvas[..] else {
        panic!("{canvas:?}");
    };
    let mut marks = 0;
    for node in chart.descendants().filter(Node::is_element) {
        let number = |name| node.attribute(name).map(|text| text.parse().unwrap());
        for (x, extent) in [("x", "width"), ("cx", "r"), ("x1", ""), ("x2", "")] {
            let Some(x) = number(x) else { continue };
            let right: f64 = x + number(extent).unwrap_or(0.0);
            assert!(x >= 0.0 && right <= width, "{node:?}");
        }
        for (y, extent) in [("y", "height"), ("cy", "r"), ("y1", ""), ("y2", "")] {
            let Some(y) = number(y) else { continue };
            let bottom: f64 = y + number(extent).unwrap_or(0.0);
            assert!(y >= 0.0 && bottom <= height, "{node:?}");
        }
        if let Some(points) = node.attribute("points") {
            let points: Vec<f64> = numbers(points).collect();
            assert!(!points.is_empty() && points.len().is_multiple_of(2));
            for point in points.chunks(2) {
                let on_canvas = (0.0..=width).contains(&point[0]);
                assert!(on_canvas && (0.0..=height).contains(&point[1]), "{node:?}");
            }
        }
        marks += usize::from(matches!(
            node.tag_name().name(),
            "rect" | "circle" | "polygon"
        ));
    }
    assert!(marks > 0, "an empty chart");
}

/// Numbers apart by blanks and commas, all of them finite.
fn numbers(text: &str) -> impl Iterator<Item = f64> {
    text.split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().unwrap())
        .inspect(|number: &f64| assert!(number.is_finite(), "{number}"))
}
