"""The style sheet of the status page."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #e2e5ea; --text: #1b2430; --soft: #5d6878;
  --blue: #2563c9; --orange: #d9730d; --good: #17804a; --bad: #c22f2f; --wait: #96690a;
  --tint: 14%;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2028; --line: #2c3440; --text: #e4e8ee; --soft: #97a2b2;
    --blue: #6ea3f5; --orange: #f2a35c; --good: #4cc387; --bad: #f07f7f; --wait: #dcb35c;
    --tint: 20%;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 24px 28px 32px; max-width: 1480px; background: var(--page);
  color: var(--text); font: 14px/1.45 system-ui, "Segoe UI", "Liberation Sans", sans-serif;
}
header { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin-bottom: 18px; }
h1 { margin: 0; font-size: 24px; letter-spacing: -0.01em; }
h2 { margin: 26px 0 8px; font-size: 15px; }
.soft { color: var(--soft); }
.pill {
  display: inline-block; padding: 1px 9px; border-radius: 10px; font-size: 12px; font-weight: 600;
  white-space: nowrap; color: var(--soft);
  background: color-mix(in srgb, currentColor var(--tint), transparent);
}
.pill.good { color: var(--good); }
.pill.bad { color: var(--bad); }
.pill.wait { color: var(--wait); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.tile, figure, .table {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px;
}
.tile { padding: 10px 14px 12px; }
.tile span { display: block; font-size: 12px; color: var(--soft); }
.tile b { font-size: 23px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile.bad b { color: var(--bad); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 12px; }
.charts { margin-top: 12px; }
figure { margin: 0; padding: 12px 14px 8px; }
figcaption { display: flex; gap: 14px; margin-bottom: 4px; font-size: 13px; }
figure svg { display: block; width: 100%; height: auto; }
.key { color: var(--soft); }
.key::before {
  content: ""; display: inline-block; width: 14px; height: 3px; margin: 0 6px 3px 0;
  border-radius: 2px; background: currentColor;
}
.key-0::before { background: var(--blue); }
.key-1::before { background: var(--orange); }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { fill: var(--soft); font-size: 11px; }
.end { text-anchor: end; }
.curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.curve.curve-0 { stroke: var(--blue); }
.curve.curve-1 { stroke: var(--orange); }
.area { stroke: none; opacity: 0.13; }
.area.curve-0, .dot.curve-0 { fill: var(--blue); }
.dot.curve-1 { fill: var(--orange); }
.spark { display: block; width: 110px; height: 22px; }
.table { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 12px; text-align: left; white-space: nowrap; }
th { font-size: 12px; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line); }
tr + tr td { border-top: 1px solid var(--line); }
.number { text-align: right; }
td.bad { color: var(--bad); font-weight: 600; }
code { font: 12px ui-monospace, "DejaVu Sans Mono", "Liberation Mono", monospace; }
footer { margin-top: 22px; font-size: 13px; color: var(--soft); }
a { color: var(--blue); text-decoration: none; }
a:hover { text-decoration: underline; }
"""
