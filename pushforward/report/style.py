"""The page's style sheet: paper and ink by day, slate by night, black on white in print."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfaf7; --panel: #ffffff; --ink: #1f2328; --soft: #5d6570; --line: #e5e2db; --accent: #a3480a;
  --c0: #2563b8; --c1: #c2570c; --c2: #2c7f57; --c3: #7a4fa3; --c4: #b83280; --c5: #857000;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", P052, Charter, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root:not([data-print]) {
    --page: #14161a; --panel: #1b1e24; --ink: #e6e8eb; --soft: #a3aab5; --line: #2e333c; --accent: #f2ab6b;
    --c0: #74acf2; --c1: #f0a25c; --c2: #70c99c; --c3: #bda0e4; --c4: #f08cc0; --c5: #d9c063;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 var(--sans); }
header, nav, main { margin: 0 auto; }
header, main { max-width: 1120px; padding: 0 28px; }
header { padding-top: 56px; }
h1, h2 { font-family: var(--serif); font-weight: 600; letter-spacing: -0.01em; text-wrap: balance; }
h1 { font-size: clamp(2rem, 6vw, 3rem); line-height: 1.1; margin: 0 0 28px; overflow-wrap: anywhere; }
h2 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 18px; }
h3 { font-size: 0.95rem; font-weight: 600; margin: 0 0 10px; }
p { max-width: 68ch; margin: 0 0 16px; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 4px; }
.kicker { margin: 0 0 10px; color: var(--soft); font-size: 0.8rem; letter-spacing: 0.12em; text-transform: uppercase; }
.facts { display: flex; flex-wrap: wrap; gap: 14px 34px; margin: 0 0 26px; }
dt { color: var(--soft); font-size: 0.8rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.command > p { margin: 0 0 6px; color: var(--soft); font-size: 0.8rem; }
.command > div { display: flex; gap: 10px; align-items: stretch; }
pre { flex: 1; min-width: 0; margin: 0; padding: 12px 16px; overflow-x: auto; background: var(--panel);
  border: 1px solid var(--line); border-radius: 8px; font: 0.875rem/1.5 var(--mono); }
.play, .copy { min-width: 84px; padding: 8px 16px; font: 500 0.9rem var(--sans); color: var(--ink); cursor: pointer;
  background: var(--panel); border: 1px solid var(--line); border-radius: 8px; }
.play:hover, .copy:hover { border-color: var(--accent); color: var(--accent); }
nav { position: sticky; top: 0; z-index: 10; display: flex; gap: 24px; overflow-x: auto; margin-top: 34px;
  padding: 12px 0; width: calc(100% - 56px); max-width: 1064px; scrollbar-width: none;
  background: var(--page); border-bottom: 1px solid var(--line); }
nav a { flex: none; color: var(--soft); font-size: 0.875rem; text-decoration: none; }
nav a:hover { color: var(--accent); }
section { padding: 44px 0 8px; scroll-margin-top: 40px; }
.nothing { padding: 14px 18px; color: var(--soft); background: var(--panel); border: 1px dashed var(--line);
  border-radius: 8px; max-width: none; }
.remark { margin: 12px 0 0; color: var(--soft); font-size: 0.875rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 16px; }
.card, .chart { margin: 0; padding: 18px 20px; background: var(--panel); border: 1px solid var(--line);
  border-radius: 10px; }
.card h3 { margin: 0; overflow-wrap: anywhere; }
.card .value { font: 600 2.2rem/1.25 var(--serif); margin: 2px 0 0; }
.card .times { margin: 0 0 10px; font-size: 0.95rem; }
.card dl { margin: 0; font-size: 0.85rem; }
.card dl div { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 12px; }
.card dd { white-space: nowrap; }
.card dt { font-size: inherit; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 16px; }
.chart { min-width: 0; padding: 16px 14px 10px; }
.chart figcaption { font-weight: 600; font-size: 0.95rem; margin: 0 4px 6px; overflow-wrap: anywhere; }
.chart .remark { margin: 4px 4px 6px; }
.plot { height: 290px; overflow: hidden; }
.plot.tall { height: min(620px, 100vw); }
.chart:has(.tall) { max-width: 640px; }
.charts .chart:has(.tall) { max-width: none; }
.charts .plot.tall { height: 430px; }
.tiles { display: grid; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); gap: clamp(3px, 0.7vw, 7px);
  max-width: calc(var(--columns) * 100px); }
.tile { min-width: 0; text-align: center; }
.tile img, .tile canvas { display: block; width: 100%; height: auto; aspect-ratio: var(--aspect);
  border-radius: 3px; background: var(--line); }
.crisp img, .crisp canvas { image-rendering: pixelated; }
.tile span { display: block; margin-top: 1px; overflow: hidden; color: var(--soft); font-size: 0.7rem; line-height: 1.5;
  text-overflow: ellipsis; white-space: nowrap; }
.stage { max-width: 560px; }
.controls { max-width: 640px; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 16px; margin-top: 16px; }
.controls input { flex: 1 1 160px; min-width: 0; height: 24px; margin: 0; accent-color: var(--accent); }
.controls output { min-width: 15ch; color: var(--soft); font-size: 0.9rem; font-variant-numeric: tabular-nums; }
.halves { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 24px clamp(20px, 4vw, 48px); }
.panel, .stage { aspect-ratio: 1; background: var(--panel); border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden; }
.panel canvas, .stage canvas { display: block; width: 100%; height: 100%; }
.rows { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 14px 44px; }
.rows .tile:first-child img { outline: 2px solid var(--c1); outline-offset: 1px; }
.claim { font: 1.2rem/1.55 var(--serif); max-width: 62ch; margin: 0 0 28px; }
.formula { margin: 0 0 18px; padding: 2px 0 2px 18px; border-left: 3px solid var(--line); font: 1.1rem/1.6 var(--serif);
  max-width: none; overflow-x: auto; white-space: pre-wrap; }
.verdicts { width: 100%; border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
.verdicts th { color: var(--soft); font-size: 0.8rem; font-weight: 400; text-align: left; }
.verdicts th, .verdicts td { padding: 8px 14px 8px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.verdicts .figure { text-align: right; white-space: nowrap; } .verdicts th.figure { white-space: normal; }
.verdicts small { display: block; color: var(--soft); }
.verdicts .yes, .verdicts .no { white-space: nowrap; }
.verdicts .yes { color: var(--c2); } .verdicts .no { color: var(--accent); font-weight: 600; }
.wide { grid-column: 1 / -1; }
.scroll { overflow-x: auto; }
.sources { padding-bottom: 72px; font-size: 0.9rem; color: var(--soft); }
.settings { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 230px), 1fr)); gap: 26px 36px;
  padding-bottom: 72px; }
.settings dl { margin: 0; font-size: 0.875rem; }
.settings dl div { display: flex; justify-content: space-between; gap: 18px; padding: 5px 0;
  border-top: 1px solid var(--line); }
.settings dt { font-size: inherit; flex: none; }
.settings dd { text-align: right; min-width: 0; }
@media (max-width: 700px) {
  header, main { padding-left: 18px; padding-right: 18px; }
  nav { width: calc(100% - 36px); }
  header { padding-top: 32px; }
  .facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); gap: 14px; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 160px), 1fr)); gap: 10px; }
  .card { padding: 14px; }
  .card .value { font-size: 1.7rem; }
  .command > div { flex-direction: column; }
  .halves { grid-template-columns: 1fr; }
  .plot { height: 260px; }
  .tiles { --columns: var(--narrow) !important; }
}
@media print {
  :root { --page: #ffffff; }
  body { font-size: 11pt; }
  nav, .controls button, .controls input, .copy { display: none; }
  header, main { max-width: none; padding-left: 0; padding-right: 0; }
  header { padding-top: 0; }
  section { padding-top: 22pt; }
  .card, .chart, .rows > *, .halves > div { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
