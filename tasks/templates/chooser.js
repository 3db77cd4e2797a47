// Draws the forecasts of a series from one of its origins, as chosen; the numbers stand in the page as JSON.
"use strict";
(() => {
  const part = name => document.getElementById(`chooser-${name}`);
  const data = JSON.parse(part("data").textContent);
  const [series, origin, drawing, said] = ["series", "origin", "drawing", "said"].map(part);
  const horizon = data.series[0].origins[0].model.length, before = data.history + data.gap, all = before + horizon;
  const text = value => Number(value.toPrecision(4)).toLocaleString("en");
  const known = value => value !== null;

  function element(name, attributes, words) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (words !== undefined) made.textContent = words;
    drawing.append(made);
  }

  function fill(select, labels, chosen) {
    select.replaceChildren(...labels.map((label, place) => new Option(label, place, place === chosen, place === chosen)));
  }

  // about four round values from low to high
  function ticks(low, high) {
    const rough = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find(one => unit * one >= rough), found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(at);
    return found;
  }

  // the two scales of a picture, from places and values to pixels
  function scales(one, width, height) {
    const values = [one.actual, one.model, one.other, one.low, one.high].flat().filter(known);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) [low, high] = [low - 1, high + 1];
    const margin = (high - low) / 20, labels = ticks(low, high).map(text);
    const left = 16 + 7.5 * Math.max(...labels.map(label => label.length)), right = 12, top = 8, bottom = 34;
    return {
      low, high, left, right: width - right, top, bottom: height - bottom,
      x: place => left + (width - left - right) * (place + 0.5) / all,
      y: value => top + (height - top - bottom) * (high + margin - value) / (high - low + 2 * margin),
    };
  }

  // a line with a gap at every unknown value, and a dot where a value stands alone
  function line(values, from, look, to) {
    let path = "";
    values.forEach((value, at) => {
      if (!known(value)) return;
      const joined = at > 0 && known(values[at - 1]);
      path += `${joined ? "L" : "M"}${to.x(from + at).toFixed(1)} ${to.y(value).toFixed(1)}`;
      const alone = !joined && !(at + 1 < values.length && known(values[at + 1]));
      if (alone) element("circle", { class: `${look} dot`, cx: to.x(from + at), cy: to.y(value), r: 3.5 });
    });
    element("path", { class: look, d: path });
  }

  // an area between two lines, half a step wider at both ends, with a gap at every unknown value
  function band(one, to) {
    const half = (to.x(1) - to.x(0)) / 2, there = one.low.map((low, at) => known(low) && known(one.high[at]));
    for (let first = 0; first < there.length; first++) {
      if (!there[first]) continue;
      let last = first;
      while (there[last + 1]) last++;
      const corner = (values, at, move) => `${(to.x(before + at) + move).toFixed(1)} ${to.y(values[at]).toFixed(1)}`;
      const places = Array.from({ length: last - first + 1 }, (_, at) => first + at);
      const side = values => [corner(values, first, -half), ...places.map(at => corner(values, at, 0)), corner(values, last, half)];
      element("path", { class: "band", d: `M${[...side(one.high), ...side(one.low).reverse()].join("L")}Z` });
      first = last;
    }
  }

  function frame(one, to) {
    for (const value of ticks(to.low, to.high)) {
      element("path", { class: "grid", d: `M${to.left} ${to.y(value)}H${to.right}` });
      element("text", { x: to.left - 8, y: to.y(value) + 4, "text-anchor": "end" }, text(value));
    }
    const cut = (to.x(data.history - 1) + to.x(data.history)) / 2;
    element("path", { class: "cutoff", d: `M${cut} ${to.top}V${to.bottom}` });
    element("text", { x: to.left, y: to.bottom + 16 }, one.first);
    element("text", { x: to.right, y: to.bottom + 16, "text-anchor": "end" }, one.last);
    const middle = Math.min(Math.max(cut, to.left + 60), to.right - 60);
    element("text", { x: middle, y: to.bottom + 30, "text-anchor": "middle" }, `origin ${one.cutoff}`);
  }

  function mean(values) {
    const some = values.filter(known);
    return some.length ? text(some.reduce((sum, value) => sum + value, 0) / some.length) : "unknown";
  }

  function words(name, one) {
    const actual = one.actual.slice(before), gaps = line => line.map((value, at) =>
      known(value) && known(actual[at]) ? Math.abs(value - actual[at]) : null);
    let found = `${name} from ${one.cutoff}: mean error of ${data.model} ${mean(gaps(one.model))}`;
    if (data.other !== data.model) found += `, of ${data.other} ${mean(gaps(one.other))}`;
    if (data.level !== null) {
      const judged = actual.map((value, at) => known(value) && known(one.low[at]) ? at : -1).filter(at => at >= 0);
      const inside = judged.filter(at => one.low[at] <= actual[at] && actual[at] <= one.high[at]);
      found += `; ${inside.length} of ${judged.length} actuals lie in the ${data.level} % interval`;
    }
    return `${found}.`;
  }

  function draw() {
    const chosen = data.series[series.value], one = chosen.origins[origin.value];
    const width = Math.max(drawing.parentElement.clientWidth, 280), height = width < 600 ? 280 : 380;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("height", height);
    drawing.replaceChildren();
    const to = scales(one, width, height);
    frame(one, to);
    band(one, to);
    line(one.actual, 0, "actual", to);
    if (data.other !== data.model) line(one.other, before, "other", to);
    line(one.model, before, "model", to);
    said.textContent = words(chosen.name, one);
    part("earlier").disabled = origin.value === "0";
    part("later").disabled = Number(origin.value) === chosen.origins.length - 1;
  }

  function choose() {
    const origins = data.series[series.value].origins;
    fill(origin, origins.map(one => one.cutoff), origins.length - 1);
    draw();
  }

  function move(by) {
    const place = Number(origin.value) + by;
    if (place < 0 || place >= origin.options.length) return;
    origin.value = place;
    draw();
  }

  // opens the folded part that a link leads to
  function open(link) {
    const target = link.length > 1 && document.getElementById(decodeURIComponent(link.slice(1)));
    const fold = target && target.closest("details");
    if (!fold) return;
    fold.open = true;
    fold.scrollIntoView();
  }

  // by hand: in the frame of MLflow's viewer a browser follows no link within a page
  for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", event => {
    event.preventDefault();
    open(link.hash);
  });

  fill(series, data.series.map(one => `${one.name} (${one.place} of ${data.ranked})`), data.start);
  series.addEventListener("change", choose);
  origin.addEventListener("change", draw);
  part("earlier").addEventListener("click", () => move(-1));
  part("later").addEventListener("click", () => move(1));
  drawing.addEventListener("keydown", event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { event.preventDefault(); move(by); }
  });
  addEventListener("resize", draw);
  addEventListener("hashchange", () => open(location.hash));
  part("box").hidden = false;
  part("still").hidden = true;
  choose();
  open(location.hash);
})();
