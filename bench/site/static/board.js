"use strict";

/* The leaderboard: one filter for all boards, and boxes that choose runs for a comparison. */
(() => {
  const byId = (id) => document.getElementById(id);
  const form = byId("filters");
  const boards = [...document.querySelectorAll("section.board")].map((section) => ({
    section,
    rows: [...section.querySelectorAll("tbody > tr[data-strategy]")].map((row) => ({ row, text: null })),
  }));
  const total = boards.reduce((sum, board) => sum + board.rows.length, 0);

  const filter = () => {
    const wanted = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [workload, profile, strategy, origin] =
      ["workload", "profile", "strategy", "origin"].map((name) => byId(`filter-${name}`).value);
    let shown = 0;
    for (const { section, rows } of boards) {
      const own = section.dataset;
      const fits = (!workload || own.workload === workload) && (!profile || own.profile === profile)
        && (!origin || own.origin === origin);
      let left = 0;
      for (const entry of rows) {
        const row = entry.row;
        let keep = fits && (!strategy || row.dataset.strategy === strategy);
        if (keep && wanted.length) {
          entry.text ??= `${own.workload} ${own.profile} ${own.origin} ${row.dataset.strategy} ${row.textContent}`.toLowerCase();
          keep = wanted.every((word) => entry.text.includes(word));
        }
        if (row.hidden === keep) row.hidden = !keep;
        left += keep;
      }
      section.hidden = left === 0;
      shown += left;
    }
    const note = byId("across-unfiltered");
    if (note) note.hidden = shown === total;
    byId("filter-count").textContent = shown === total ? `${total} rows` : `${shown} of ${total} rows`;
  };

  const boxes = [...document.querySelectorAll("input.pick")];
  const tray = byId("tray");

  const choose = () => {
    const chosen = new Set(boxes.filter((box) => box.checked).flatMap((box) => box.value.split(" ")));
    tray.hidden = chosen.size === 0;
    const number = chosen.size;
    byId("tray-count").textContent =
      number === 1 ? "1 run chosen; choose another to compare" : `${number} runs chosen`;
    byId("tray-compare").hidden = number < 2;
    byId("tray-compare").href = `compare.html#${[...chosen].join(",")}`;
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  for (const box of boxes) box.disabled = false;
  document.addEventListener("change", (event) => event.target.matches("input.pick") && choose());
  byId("tray-clear").addEventListener("click", () => {
    for (const box of boxes) box.checked = false;
    choose();
    boxes[0]?.focus();
  });
  filter();
  choose();
})();
