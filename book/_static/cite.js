/* The buttons that copy a citation. A page opened from disk may be denied the clipboard: then the
text is selected and copied the old way. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  function selected(source) {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  }

  async function copied(source) {
    try {
      await navigator.clipboard.writeText(source.textContent);
      return true;
    } catch {
      return selected(source);
    }
  }

  for (const button of document.querySelectorAll("[data-copies]")) {
    const answer = button.closest(".cite-page").querySelector("output");
    button.addEventListener("click", async () => {
      const done = await copied(document.getElementById(button.dataset.copies));
      answer.textContent = done ? "Copied." : "Press Ctrl+C to copy what is selected.";
    });
  }
});
