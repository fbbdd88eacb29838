// Shows a chart's figures under the pointer, or under the arrow keys while the chart has the focus. Without this script the
// page loses nothing else. Text from logs is only ever set as text.
"use strict";
const show = (value) => {
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e7 || size < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(4)));
  return text.replace("-", "\u2212");
};
const nearest = (points, x) => {
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= x) low = middle; else high = middle;
  }
  return Math.abs(points[high][0] - x) < Math.abs(points[low][0] - x) ? points[high] : points[low];
};
for (const chart of document.querySelectorAll("[data-chart]")) {
  const data = JSON.parse(document.getElementById(chart.dataset.chart).textContent);
  const plot = chart.querySelector("svg.plot");
  const cross = chart.querySelector(".cross");
  const place = chart.querySelector(".value.place");
  const outputs = [...chart.querySelectorAll("[data-series]")];
  const [start, end] = data.x;
  let now = null;
  const clear = () => {
    now = null;
    chart.classList.remove("live");
    for (const output of [...outputs, place]) output.textContent = "";
  };
  const at = (x) => {
    now = Math.min(end, Math.max(start, x));
    chart.classList.add("live");
    const share = `${100 * (now - start) / (end - start)}%`;
    cross.setAttribute("x1", share);
    cross.setAttribute("x2", share);
    place.textContent = `at ${Math.round(now).toLocaleString("en")} ${data.name}`;
    for (const output of outputs) {
      const points = data.series[output.dataset.series].points;
      output.textContent = points.length ? show(nearest(points, now)[1]) : "";
    }
  };
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    at(start + (end - start) * (event.clientX - box.left) / box.width);
  });
  chart.addEventListener("pointerleave", clear);
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") clear();
    if (!by) return;
    event.preventDefault();
    at((now ?? (by > 0 ? start : end)) + by * (end - start) / (event.shiftKey ? 10 : 100));
  });
  chart.addEventListener("blur", clear);
}
