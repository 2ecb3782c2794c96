// Fades the side of a wide table or picture behind which there is more of it.
(function () {
  "use strict";
  for (const box of document.querySelectorAll(".scroll")) {
    const mark = () => {
      box.classList.toggle("more-left", box.scrollLeft > 2);
      box.classList.toggle("more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
    };
    box.addEventListener("scroll", mark, { passive: true });
    new ResizeObserver(mark).observe(box);
  }
})();
