"use strict";

/* Runs side by side: which ones is in the page's address, after the #. */
(() => {
  const byId = (id) => document.getElementById(id);
  const { element } = sweepmark;
  const NAME = /^[a-z0-9][a-z0-9._-]*$/;
  const MOST_OFFERS = 30;
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

  /** What a run is one of: its strategy, with its settings where the strategy has others too. */
  const kinds = (runs) => {
    const settings = new Map();
    for (const run of runs) settings.set(run.strategy, (settings.get(run.strategy) ?? new Set()).add(run.settings));
    return runs.map((run) => settings.get(run.strategy).size > 1 ? `${run.strategy} (${run.settings || "no settings"})` : run.strategy);
  };

  /** How many seeds speak for each strategy, and whether that is enough for a claim. */
  const seeds = (runs) => {
    const found = new Map();
    kinds(runs).forEach((kind, i) => found.set(kind, (found.get(kind) ?? new Set()).add(runs[i].seed)));
    const numbers = [...found.values()].map((own) => own.size);
    const still = "still shows what chance did as much as what the strategy does.";
    if (numbers.every((number) => number === 1)) {
      return runs.length === numbers.length ? `One run of each ${still}` : `One seed of each ${still}`;
    }
    const told = [...found].map(([kind, own]) => `${kind} ${own.size}`).join(", ");
    const least = runs[0].seeds_for_a_claim; // these runs are all measured, or all simulated
    const few = Math.min(...numbers) < least;
    return `Seeds: ${told}.${few ? ` Fewer than ${least} of a strategy ${still.replace("shows", "show")}` : ""}`;
  };

  const verdict = (runs) => {
    const differing = differences(runs);
    const box = byId("verdict");
    if (differing.length === 0) {
      box.className = "verdict good";
      box.replaceChildren(
        element("p", {}, element("b", {}, "These runs compare: "),
          `the same workload, recipe, profile, data, plan and machine. ${seeds(runs)}`),
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
    const strategies = kinds(runs);
    for (const figure of document.querySelectorAll("figure.picture")) {
      const name = figure.dataset.picture;
      const rows = runs.flatMap((run, i) => (run.rows[name] ?? []).map((row) => ({ ...row, run: said[i], strategy: strategies[i] })));
      await sweepmark.draw(figure, rows, true);
    }
  };

  const list = (names) => {
    byId("chosen").replaceChildren(...names.map((name) => {
      const known = index.get(name);
      const remove = element("button", { type: "button", "aria-label": `Remove ${known?.label ?? name}` }, "remove");
      remove.addEventListener("click", () => go(names.filter((other) => other !== name)));
      const text = known
        ? [element("a", { href: `runs/${name}.html` }, known.label), element("span", { class: "id" }, `${known.board}; ${name}`)]
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
  const field = byId("chooser-run");
  byId("chooser-runs").append(...[...index.values()].map(({ name, label, board }) => element("option", { value: name }, `${label}; ${board}`)));

  const offer = (runs) => {
    const shown = runs.slice(0, MOST_OFFERS);
    byId("offers").hidden = shown.length === 0;
    byId("offers").replaceChildren(...shown.map(({ name, label, board }) => {
      const button = element("button", { type: "button", "aria-label": `Add ${label}; ${board}` }, "add");
      button.addEventListener("click", () => add(name));
      return element("li", {}, element("span", {}, label), element("span", { class: "id" }, `${board}; ${name}`), button);
    }));
  };

  const add = (name) => {
    field.value = "";
    byId("chooser-said").textContent = "";
    offer([]);
    field.focus();
    if (!named().includes(name)) go([...named(), name]);
  };

  /** All runs that have each of the words somewhere in what is said of them. */
  const fitting = (text) => {
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    return [...index.values()].filter((run) => {
      const said = `${run.name} ${run.label} ${run.board}`.toLowerCase();
      return wanted.length > 0 && wanted.every((word) => said.includes(word));
    });
  };

  chooser.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim();
    const all = index.has(text) ? [index.get(text)] : fitting(text);
    const chosen = new Set(named());
    const runs = all.filter(({ name }) => !chosen.has(name));
    if (runs.length === 1) return add(runs[0].name);
    offer(runs);
    byId("chooser-said").textContent = text === "" ? "Write a part of what a run is called."
      : all.length === 0 ? `There is no run “${text}”.`
      : runs.length === 0 ? "All runs that fit are chosen."
      : runs.length > MOST_OFFERS ? `${runs.length} runs fit; these are the first ${MOST_OFFERS}.` : `${runs.length} runs fit: add those you want.`;
    return undefined;
  });
  chooser.hidden = false;
  window.addEventListener("hashchange", show);
  show();
})();
