"use strict";

/* Runs side by side: which ones is in the page's address, after the #. */
(() => {
  const byId = (id) => document.getElementById(id);
  const { element } = sweepmark;
  const NAME = /^[a-z0-9][a-z0-9._-]*$/;
  const index = new Map(sweepmark.data.get("runs").map((run) => [run.name, run]));

  /** As the address says; one that was cut or mangled names nobody. */
  const named = () => {
    try {
      return [...new Set(decodeURIComponent(location.hash.slice(1)).split(",").filter(Boolean))];
    } catch {
      return [];
    }
  };
  const go = (names) => { location.hash = names.join(","); };

  /** Short names, told apart by the run's name where two are equal. */
  const labels = (runs) => {
    const times = new Map();
    for (const { label } of runs) times.set(label, (times.get(label) ?? 0) + 1);
    return runs.map(({ label, name }) => (times.get(label) > 1 ? `${label} (${name.slice(-8)})` : label));
  };

  /** Conditions in which the runs are not all alike. */
  const differences = (runs) => {
    const found = [];
    const names = new Set(runs.flatMap((run) => run.conditions.map((condition) => condition.name)));
    for (const name of names) {
      const held = runs.map((run) => run.conditions.find((condition) => condition.name === name));
      const known = held.filter(Boolean);
      if (known.length === runs.length || !name.startsWith("hash")) {
        const keys = new Set(held.map((condition) => condition?.key));
        if (keys.size > 1) found.push({ name, texts: [...new Set(held.map((c) => c?.text ?? "not recorded"))] });
      }
    }
    return found;
  };

  const verdict = (runs) => {
    const differing = differences(runs);
    const box = byId("verdict");
    if (differing.length === 0) {
      box.className = "verdict good";
      box.replaceChildren(
        element("p", {}, element("b", {}, "These runs compare: "), "the same workload, recipe, profile, data, plan and "
          + "machine. One run of each still shows what chance did as much as what the strategy does."),
      );
      return;
    }
    box.className = "verdict bad";
    const items = differing.map(({ name, texts }) => element("li", {}, `${name}: ${texts.map((t) => t.length > 40 ? `${t.slice(0, 12)}…` : t).join(" against ")}`));
    box.replaceChildren(
      element("p", {}, element("b", {}, "These runs do not compare: "), "they differ in more than their strategy and seed. "
        + "What is shown of each is right; differences between them mean nothing."),
      element("ul", {}, ...items),
    );
  };

  const facts = (runs, said) => {
    const head = element("tr", {}, element("th", { scope: "col", class: "name left" }, "fact"),
      ...runs.map((run, i) => element("th", { scope: "col", class: "left" }, element("a", { href: `runs/${run.name}.html` }, said[i]))));
    const names = [...new Set(runs.flatMap((run) => run.facts.map((fact) => fact.name)))];
    const rows = names.map((name) => {
      const own = runs.map((run) => run.facts.find((fact) => fact.name === name));
      const differ = new Set(own.map((fact) => fact?.text)).size > 1;
      const known = own.find(Boolean);
      const label = known.term ? element("a", { href: `terms.html#${known.term}` }, name) : name;
      const mark = differ ? element("span", { class: "differs", title: "the runs differ" }, " ≠") : "";
      return element("tr", { class: differ ? "differing" : null },
        element("th", { scope: "row", class: "name left" }, label, mark),
        ...own.map((fact) => element("td", { class: "left" }, fact?.text ?? "-")));
    });
    const wide = byId("facts");
    wide.replaceChildren(element("caption", { class: "unseen" }, "Facts of the runs side by side"),
      element("thead", {}, head), element("tbody", {}, ...rows));
  };

  const pictures = async (runs, said) => {
    for (const figure of document.querySelectorAll("figure.picture")) {
      const name = figure.dataset.picture;
      const rows = runs.flatMap((run, i) => (run.rows[name] ?? []).map((row) => ({ ...row, run: said[i] })));
      await sweepmark.draw(figure, rows, true);
    }
  };

  const list = (names) => {
    byId("chosen").replaceChildren(...names.map((name) => {
      const known = index.get(name);
      const remove = element("button", { type: "button", "aria-label": `Remove ${known?.label ?? name}` }, "remove");
      remove.addEventListener("click", () => go(names.filter((other) => other !== name)));
      const text = known
        ? [element("a", { href: `runs/${name}.html` }, known.label), element("span", { class: "id" }, name)]
        : [element("span", {}, `There is no run “${name}” on this site.`)];
      return element("li", {}, ...text, remove);
    }));
  };

  const failed = (error) => {
    const box = byId("verdict");
    box.className = "verdict bad";
    box.replaceChildren(element("p", {}, `The comparison cannot be shown: ${error.message}.`));
    byId("comparison").hidden = false;
  };

  let turn = 0;
  const show = () => showTurn(++turn).catch(failed);

  const showTurn = async (mine) => {
    const names = named();
    const known = names.filter((name) => NAME.test(name) && index.has(name));
    list(names);
    byId("empty").hidden = known.length > 1;
    byId("comparison").hidden = known.length < 2;
    if (known.length < 2) return;
    await Promise.all(known.map((name) => sweepmark.load(`data/${name}/data.js`)));
    if (mine !== turn) return;
    const runs = known.map((name) => sweepmark.data.get(`run:${name}`));
    const said = labels(runs);
    verdict(runs);
    facts(runs, said);
    await pictures(runs, said);
    if (mine === turn) document.documentElement.dataset.compared = known.join(",");
  };

  const chooser = byId("chooser");
  byId("chooser-runs").append(...[...index.values()].map(({ name, label }) => element("option", { value: name }, label)));
  chooser.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("chooser-run");
    const name = field.value.trim();
    byId("chooser-said").textContent = index.has(name) ? "" : `There is no run “${name}”.`;
    if (!index.has(name)) return;
    field.value = "";
    if (!named().includes(name)) go([...named(), name]);
  });
  chooser.hidden = false;
  window.addEventListener("hashchange", show);
  show();
})();
