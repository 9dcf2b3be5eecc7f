// What the page can do beyond being read: values beside points, a choice of algorithms, the scale of KL, everything open on paper.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  all(".live").forEach(each => { each.hidden = false; });

  // A box that scrolls takes the keyboard; one whose content fits need not be a stop on the way.
  const stops = () => all(".scroll").forEach(box => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0; else box.removeAttribute("tabindex");
  });
  addEventListener("load", stops);
  addEventListener("resize", stops);
  all("details").forEach(each => each.addEventListener("toggle", stops));

  // Choosing algorithms hides their series, their rows in every table and their samples; a bar says who is hidden.
  const settled = [], boxes = all("[name=algorithm]"), hiding = document.getElementById("hiding");
  const owner = row => (row.querySelector("th[scope=row]")?.firstChild?.textContent ?? "").replace(/ \u2020$/, "");
  const choose = () => {
    const gone = new Set(boxes.filter(box => !box.checked).map(box => box.value));
    all("[data-algorithm]").forEach(each => { each.style.display = gone.has(each.dataset.algorithm) ? "none" : ""; });
    all("tbody tr").forEach(row => { row.hidden = gone.has(owner(row)); });
    hiding.hidden = gone.size === 0;
    document.getElementById("hidden-names").textContent = [...gone].join(", ");
    settled.forEach(settle => settle());
    stops();
  };
  boxes.forEach(box => box.addEventListener("change", choose));
  document.getElementById("show-all")?.addEventListener("click", () => {
    boxes.forEach(box => { box.checked = true; });
    choose();
    boxes[0].focus();
  });

  // The scale of KL: both drawings are in the page, one of them is shown.
  all("[name=scale]").forEach(choice => choice.addEventListener("change", () => {
    all("[data-scale]").forEach(plot => { plot.hidden = plot.dataset.scale !== choice.value; });
    stops();
  }));

  // Values of a point: the one nearest to the pointer, or the one that has the focus; arrow keys go along KL within a panel.
  const near = 22;
  all(".live-plot").forEach(plot => {
    const tip = document.createElement("div"), spots = all(".spot", plot), panels = new Map();
    tip.className = "tip";
    tip.hidden = true;
    tip.setAttribute("aria-hidden", "true");
    plot.append(tip);
    const middle = spot => { const box = spot.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
    const shown = spot => spot.style.display !== "none";
    const hide = () => { tip.hidden = true; spots.forEach(spot => spot.classList.remove("read")); };
    const show = spot => {
      hide();
      spot.classList.add("read");
      tip.textContent = spot.getAttribute("aria-label").replaceAll("; ", "\n");
      tip.hidden = false;
      const frame = plot.getBoundingClientRect(), [x, y] = middle(spot), right = plot.scrollLeft + plot.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.max(plot.scrollLeft, Math.min(x - frame.x + plot.scrollLeft + 14, right))}px`;
      tip.style.top = `${y - frame.y > tip.offsetHeight + 14 ? y - frame.y - tip.offsetHeight - 14 : y - frame.y + 14}px`;
    };
    const nearest = event => {
      const far = spot => { const [x, y] = middle(spot); return Math.hypot(x - event.clientX, y - event.clientY); };
      const [best] = spots.filter(shown).map(spot => [far(spot), spot]).sort((a, b) => a[0] - b[0]);
      if (best && best[0] < near) show(best[1]); else hide();
    };
    spots.forEach(spot => {
      spot.querySelector("title")?.remove(); // the browser's own tooltip would cover ours
      panels.set(spot.dataset.panel, [...(panels.get(spot.dataset.panel) ?? []), spot]);
      spot.addEventListener("focus", () => show(spot));
      spot.addEventListener("blur", hide);
    });
    const stop = (panel, here) => panel.forEach(spot => { spot.tabIndex = spot === here ? 0 : -1; }); // one stop of Tab per panel
    const settle = () => panels.forEach(panel => stop(panel, panel.find(shown)));
    panels.forEach(panel => panel.sort((a, b) => a.dataset.kl - b.dataset.kl));
    settled.push(settle);
    settle();
    plot.addEventListener("pointermove", nearest);
    plot.addEventListener("pointerdown", nearest);
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("keydown", event => {
      const spot = event.target.closest(".spot"), step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!spot || !step) return;
      event.preventDefault(); // the arrow would scroll
      const panel = panels.get(spot.dataset.panel).filter(shown);
      const next = panel[(panel.indexOf(spot) + step + panel.length) % panel.length];
      stop(panels.get(spot.dataset.panel), next);
      next.focus();
    });
  });

  // On paper nothing can be opened.
  let closed = [];
  addEventListener("beforeprint", () => { closed = all("details:not([open])"); closed.forEach(each => { each.open = true; }); });
  addEventListener("afterprint", () => closed.forEach(each => { each.open = false; }));
})();
