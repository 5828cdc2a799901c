"use strict";

/* Tables sort by a button in each header; without this script they are read as they stand. */
(() => {
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const LEAST_ROWS = 2;

  /** What a row sorts by: a number in full precision, else text; null where there is no value, or no end to it
      ("never"), which is the worst whichever way a column is better. */
  const keyOf = (row, index) => {
    const cell = row.cells[index];
    const number = cell.dataset.sort;
    if (number !== undefined) return number !== "" && Number.isFinite(Number(number)) ? Number(number) : null;
    const text = (cell.firstChild?.textContent ?? "").trim();
    return text === "" || text === "-" ? null : text;
  };

  /** Numbers before text, missing values last in either direction. */
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const kinds = (typeof a === "string") - (typeof b === "string");
    if (kinds) return kinds;
    return sign * (typeof a === "string" ? words.compare(a, b) : a < b ? -1 : a > b ? 1 : 0);
  };

  const sort = (table, header) => {
    const index = header.cellIndex;
    const descending = header.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row, place) => ({ row, place, key: keyOf(row, index) }));
    const sign = descending ? -1 : 1;
    keyed.sort((a, b) => compare(a.key, b.key, sign) || a.place - b.place);
    const rows = document.createDocumentFragment();
    for (const { row } of keyed) rows.append(row);
    body.append(rows);
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  };

  /** Of a long table the style folds what is beyond its first rows: a thousand at once are slow to lay out. */
  for (const box of document.querySelectorAll(".table.long")) {
    const button = sweepmark.element("button", { type: "button", class: "unfold" }, "Rows beyond the 200th are folded: show all");
    button.addEventListener("click", () => { box.classList.add("all"); box.focus(); button.remove(); });
    box.after(button);
  }

  for (const table of document.querySelectorAll(".table > table:not([data-plain])")) {
    if ((table.tBodies[0]?.rows.length ?? 0) < LEAST_ROWS) continue;
    for (const header of table.tHead.rows[0].cells) {
      const label = header.querySelector(".label");
      if (!label) continue;
      const button = sweepmark.element("button", { type: "button", class: "sort", title: "Sort by this column" });
      label.replaceWith(button);
      button.append(label);
      button.addEventListener("click", () => sort(table, header));
    }
  }
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
