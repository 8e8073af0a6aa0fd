// Builds notices as the macro `notice` of macros.html does.

const SVG = "http://www.w3.org/2000/svg";

export const make = (name, className, ...children) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children.filter(Boolean));
  return element;
};

export const icon = (name) => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
};

/// A text: a string, or pieces of the server's, of which some are code.
const pieces = (text) => [text].flat().map((piece) => (piece.isCode ? make("code", "", piece.text) : (piece.text ?? piece)));

/// Links lead to this origin only, or nowhere.
export const link = (href, text) => {
  const url = URL.canParse(href, location.href) && new URL(href, location.href);
  if (!url || url.origin !== location.origin) return null;
  const element = make("a", "", text);
  element.href = url.href;
  return element;
};

export const notice = ({ tone, icon: name, title, text, href, action }) => {
  const way = href && link(href, action);
  const body = make("div", "", make("strong", "", title), text && make("p", "", ...pieces(text)), way && make("p", "row", way));
  return make("div", `notice ${tone}`, icon(name), body);
};

/// What a redirect to the stable link means: it leads to sign-in, and then back to this page.
export const ended = (text = "Nothing was sent on. What you typed here is not kept when you leave the page.") => ({
  tone: "warn",
  icon: "lock",
  title: "Your session has ended",
  text,
  href: location.href,
  action: "Sign in and come back",
});
