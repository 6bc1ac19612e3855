"use strict";
// Zoom and pan a chart: what is shown is in the address, the server draws it. Without this the links do the same.
(() => {
  const LEAST = 10_000;
  const chart = () => document.getElementById("chart");
  let timer = 0, drag = null;
  let wish = null; // [from, to] that somebody wants to see and that is not asked for yet; the chart may be drawn anew meanwhile

  const range = (box) => ({ from: Number(box.dataset.fromMs), to: Number(box.dataset.toMs) });

  // Shown at once by stretching what is there; then the server draws it anew.
  function show(box, from, to) {
    const now = range(box), scale = (now.to - now.from) / (to - from);
    const shift = ((now.from - from) / (to - from)) * box.clientWidth;
    const plot = box.querySelector(".plot");
    if (plot) plot.style.transform = `translateX(${shift}px) scaleX(${scale})`;
    wish = [Math.round(from), Math.round(to)];
    clearTimeout(timer);
    timer = setTimeout(settle, 90);
  }

  function settle() {
    if (!drag && wish) go(`?from_ms=${wish[0]}&to_ms=${wish[1]}`);
  }

  function go(query) {
    history.replaceState(null, "", query);
    wish = null;
    document.dispatchEvent(new CustomEvent("octowait:draw"));
  }

  const wanted = (box) => wish || Object.values(range(box));

  function zoom(box, factor, share) {
    const [from, to] = wanted(box), span = Math.max(LEAST, (to - from) * factor);
    const middle = from + (to - from) * share;
    show(box, Math.max(0, middle - span * share), middle + span * (1 - share));
  }

  function pan(box, share) {
    const [from, to] = wanted(box), by = (to - from) * share;
    if (from + by >= 0) show(box, from + by, to + by);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-range]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(new URL(link.href).search);
  });

  document.addEventListener("keydown", (event) => {
    const box = event.target.closest?.("#chart");
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      ArrowLeft: () => pan(box, -0.2), ArrowRight: () => pan(box, 0.2),
      "+": () => zoom(box, 0.5, 0.5), "=": () => zoom(box, 0.5, 0.5), "-": () => zoom(box, 2, 0.5), "0": () => go("?"),
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  // Only once the chart has the focus, or with Ctrl, or sideways: a page must scroll past its chart.
  document.addEventListener("wheel", (event) => {
    const box = event.target.closest?.("#chart");
    if (!box) return;
    if (event.ctrlKey || event.metaKey || (box.contains(document.activeElement) && event.deltaY)) {
      event.preventDefault();
      zoom(box, event.deltaY > 0 ? 1.25 : 0.8, (event.clientX - box.getBoundingClientRect().left) / box.clientWidth);
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      pan(box, event.deltaX / box.clientWidth);
    }
  }, { passive: false });

  document.addEventListener("pointerdown", (event) => {
    const box = event.target.closest?.("#chart");
    if (box && event.button === 0) drag = { box, x: event.clientX, range: wanted(box), moved: false };
  });

  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const by = event.clientX - drag.x;
    if (!drag.moved && Math.abs(by) < 4) return;
    drag.moved = true;
    const [from, to] = drag.range, shift = (by / drag.box.clientWidth) * (to - from);
    show(drag.box, Math.max(0, from - shift), to - shift);
  });

  function drop() {
    const { moved } = drag || {};
    drag = null;
    if (!moved) return;
    settle();
    // The bar under the pointer is a link, and a drag is no click.
    const refuse = (event) => { event.preventDefault(); event.stopPropagation(); };
    addEventListener("click", refuse, { capture: true, once: true });
    setTimeout(() => removeEventListener("click", refuse, { capture: true }), 0);
  }
  addEventListener("pointerup", drop);
  addEventListener("pointercancel", drop);
  addEventListener("dragstart", (event) => { if (event.target.closest?.("#chart")) event.preventDefault(); });

  // What goes on grows, and the line of now moves, between two answers of the server.
  document.addEventListener("octowait:tick", (event) => {
    const box = chart();
    if (!box) return;
    const { from, to } = range(box), at = (100 * (event.detail - from)) / (to - from);
    if (at > 100) {
      if (box.dataset.span && !drag) document.dispatchEvent(new CustomEvent("octowait:draw"));
      return;
    }
    const line = box.querySelector(".now");
    if (!line) return;
    for (const end of ["x1", "x2"]) line.setAttribute(end, `${at}%`);
    for (const bar of box.querySelectorAll("[data-open] > rect, [data-open] > svg, rect[data-open]")) {
      bar.setAttribute("width", `${Math.max(0.12, at - parseFloat(bar.getAttribute("x")))}%`);
    }
  });
})();
