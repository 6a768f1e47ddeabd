/* What the theme does by scripts in attributes, which the policy of the pages forbids, and what it
does by requests, which a page opened from disk may not make. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const presses = { fullscreen: () => toggleFullScreen(), print: () => window.print() };
  for (const button of document.querySelectorAll("[data-press]")) {
    button.addEventListener("click", presses[button.dataset.press]);
  }
});

if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
