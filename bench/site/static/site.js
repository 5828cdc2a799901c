"use strict";

/* What all pages share: data that comes as scripts, since a page opened from a file may not fetch. */
const sweepmark = (() => {
  const data = new Map();
  const loading = new Map();

  /** Called by every script of data. */
  const register = (key, value) => void data.set(key, value);

  /** Load a script once; fails where there is none. */
  const load = (source) => {
    if (!loading.has(source)) {
      loading.set(source, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = source;
        script.onload = () => resolve();
        script.onerror = () => { loading.delete(source); reject(new Error(`cannot load ${source}`)); };
        document.head.append(script);
      }));
    }
    return loading.get(source);
  };

  const root = () => document.body.dataset.root;

  /** An element with attributes and children; text stays text. */
  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  };

  return { data, register, load, root, element };
})();
window.sweepmark = sweepmark;
