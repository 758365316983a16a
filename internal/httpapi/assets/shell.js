// The page of a shell: what is typed goes to the websocket as bytes, a new size as JSON. What comes is shown, and JSON is the end.
"use strict";

const terminal = new Terminal({ cursorBlink: true });
const fit = new FitAddon.FitAddon();
terminal.loadAddon(fit);
terminal.open(document.getElementById("terminal"));
fit.fit();
terminal.focus();
document.title = "Shell of job " + location.hostname.split("-")[0];

const address = new URL("socket", location.href);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
address.search = "?columns=" + terminal.cols + "&rows=" + terminal.rows;
const socket = new WebSocket(address);
socket.binaryType = "arraybuffer";

let ended = false;
function end(text) {
  if (!ended) {
    ended = true;
    terminal.write("\r\n[" + text + "]\r\n");
  }
}
socket.onmessage = (message) => {
  if (typeof message.data === "string") {
    end("ended with " + JSON.parse(message.data).exit);
  } else {
    terminal.write(new Uint8Array(message.data));
  }
};
socket.onclose = () => end("no connection");

const bytes = new TextEncoder();
function send(data) {
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(data);
  }
}
terminal.onData((text) => send(bytes.encode(text)));
terminal.onBinary((text) => send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
terminal.onResize((size) => send(JSON.stringify({ columns: size.cols, rows: size.rows })));
window.addEventListener("resize", () => fit.fit());
