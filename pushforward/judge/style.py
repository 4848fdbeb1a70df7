"""What the judging page adds to the report's style sheet: one screen at a time, and nothing beside the image."""

STYLE = """
[hidden] { display: none !important; }
body { min-height: 100vh; min-height: 100dvh; }
.screen { max-width: 680px; min-height: 100vh; min-height: 100dvh; margin: 0 auto; padding: 40px 0;
  display: flex; flex-direction: column; justify-content: center; }
.screen .facts { margin-bottom: 30px; }
#trial:focus, .screen h1:focus, .screen h2:focus { outline: none; }
.seen-by-readers { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
form { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: end; margin: 0 0 8px; }
form label { flex: 1 1 100%; font-size: 0.875rem; font-weight: 600; }
form input { flex: 1 1 220px; min-width: 0; padding: 11px 14px; font: 1rem var(--sans); color: var(--ink);
  background: var(--panel); border: 1px solid var(--soft); border-radius: 8px; }
button { padding: 11px 22px; font: 500 1rem var(--sans); color: var(--ink); cursor: pointer; background: var(--panel);
  border: 1px solid var(--soft); border-radius: 8px; }
button:hover { border-color: var(--accent); color: var(--accent); }
button.first { color: var(--page); background: var(--accent); border-color: var(--accent); }
button.first:hover { color: var(--page); background: var(--ink); border-color: var(--ink); }
:is(button, input):focus-visible { border-radius: 8px; }
kbd { display: inline-block; min-width: 1.9em; padding: 1px 7px; font: 0.8125rem/1.5 var(--mono); text-align: center;
  color: var(--ink); background: var(--panel); border: 1px solid var(--line); border-bottom-width: 2px;
  border-radius: 5px; }
button kbd { margin-left: 4px; }
.first kbd { color: inherit; background: none; border-color: currentColor; opacity: 0.8; }
.how { display: grid; grid-template-columns: auto 1fr; gap: 8px 20px; margin: 26px 0 0; padding: 22px 0 0;
  border-top: 1px solid var(--line); font-size: 0.9375rem; }
.how dt { color: var(--ink); font-size: inherit; white-space: nowrap; }
.how dd { color: var(--soft); }
.choices { display: flex; flex-wrap: wrap; gap: 12px; margin: 12px 0 0; }
.problem { margin: 0; color: var(--accent); font-size: 0.9375rem; }
#trial { max-width: none; height: 100vh; height: 100dvh; min-height: 340px; justify-content: flex-start;
  padding: 18px 0 24px; }
.bar { display: flex; align-items: center; gap: 18px; color: var(--soft); font-size: 0.875rem;
  font-variant-numeric: tabular-nums; }
.bar span { flex: none; }
.bar button { flex: none; padding: 6px 14px; font-size: 0.875rem; }
progress { flex: 1; min-width: 0; height: 6px; appearance: none; border: 0; border-radius: 3px; overflow: hidden;
  background: var(--line); color: var(--accent); }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); }
progress::-moz-progress-bar { background: var(--accent); }
.field { flex: 1; display: grid; place-items: center; min-height: 0; padding: 16px 0; }
.field > * { grid-area: 1 / 1; visibility: hidden; }
.field > .shown { visibility: visible; }
.field .crisp { image-rendering: pixelated; }
.cross { width: 26px; height: 26px; background:
  linear-gradient(var(--soft), var(--soft)) center / 2px 100% no-repeat,
  linear-gradient(var(--soft), var(--soft)) center / 100% 2px no-repeat; }
.ask { text-align: center; }
.ask p { max-width: none; margin: 0 0 12px; font: 1.2rem/1.4 var(--serif); }
.ask div { display: grid; grid-template-columns: repeat(2, minmax(0, 190px)); justify-content: center; gap: 14px; }
.ask button { padding: 14px 10px; }
.ask.waiting > * { visibility: hidden; }
.score { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; margin: 0 0 22px; }
.score .card:first-child { grid-column: 1 / -1; }
.score h3 { font-size: 0.9375rem; }
.score .card:first-child .value { font-size: 3.2rem; line-height: 1.15; }
.score .remark { margin: 2px 0 0; }
@media (max-width: 700px) {
  .screen { padding: 28px 0; }
  .how { gap: 8px 14px; }
  .ask button { padding: 18px 8px; }
  .score { gap: 10px; }
  form button { flex: 1 1 100%; }
}
@media (hover: none) and (pointer: coarse) {
  button kbd, .how .key { display: none; }
}
"""
