/* Texts, in HTML and in pictures, whose contrast to their ground is under 4.5 (WCAG AA). In a picture the ground is the page's, except on bars, whose labels are dark on light fills. */
(() => {
  const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const parse = (text) => { const n = text.match(/[\d.]+/g)?.map(Number); return n && { rgb: n.slice(0, 3), a: n[3] ?? 1 }; };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const found = parse(getComputedStyle(e).backgroundColor);
      if (found && found.a === 1) return found.rgb;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("noscript, script, select, .skip, .mark-text")) continue;
    const style = getComputedStyle(element);
    const colour = parse(element.closest("svg") ? style.fill : style.color);
    if (!colour || colour.a < 1) { bad.push([text, style.fill, style.color]); continue; }
    const found = ratio(colour.rgb, ground(element));
    if (found < 4.5) bad.push([text.slice(0, 40), element.tagName, found.toFixed(2), style.color]);
  }
  return bad;
})()
