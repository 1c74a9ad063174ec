// The inputs: a card for each, made from what its JSON Schema says under "form": a file of some
// types, a text, or columns. Inputs that read the same column share a card.

import {make, notNull, stamped} from "./make.js";
import {record} from "./sound.js";

export function cards(inputs, changed) {
  const groups = new Map();
  for (const input of inputs) {
    const key = JSON.stringify([input.modality, input.column]);
    groups.set(key, [...(groups.get(key) ?? []), input]);
  }
  return [...groups.values()].map((group) => new Card(group, inputs.length > 1, changed));
}

class Card {
  constructor(group, several, changed) {
    const {form, ...raw} = group[0].schema;
    const schema = notNull(raw);
    this.names = group.map((input) => input.name);
    this.used = new Set(this.names);
    const title = group.length > 1 ? group[0].column : group[0].name;
    this.isFile = form.widget === "file";
    this.isText = form.widget === "text";
    if (this.isFile) this.widget = new FileWidget(form, schema.description, title, changed);
    else if (this.isText) this.widget = new TextWidget(title, changed);
    else this.widget = new ColumnsWidget(schema.properties, changed);
    const switches = several ? this.names.map((name) => this.toggle(name, changed)) : [];
    this.element = make(
      "section", {class: "input", "aria-label": title},
      make("div", {class: "head"}, make("h2", {}, title), make("div", {class: "row"}, ...switches)),
      make("div", {class: "body"}, this.widget.element),
    );
  }

  toggle(name, changed) {
    const box = make("input", {type: "checkbox", checked: true});
    box.addEventListener("change", () => {
      if (box.checked) this.used.add(name);
      else this.used.delete(name);
      this.element.classList.toggle("off", this.used.size === 0);
      changed({now: true});
    });
    return make("label", {class: "switch"}, box, this.names.length > 1 ? `Use ${name}` : "Use");
  }

  // [path within a record, value] of what is filled in and used; a file can take its place.
  parts(file) {
    const values = file === undefined ? this.widget.values() : [["", file]];
    return [...this.used].flatMap((name) => values.map(([path, value]) => [name + path, value]));
  }

  get filled() {
    return this.widget.values().length > 0;
  }
}

class TextWidget {
  constructor(title, changed) {
    this.element = make("textarea", {"aria-label": title, placeholder: "Type here",
      oninput: () => changed({now: false})});
  }

  values() {
    return this.element.value.trim() ? [["", this.element.value]] : [];
  }

  get label() {
    return this.element.value.trim().slice(0, 200);
  }
}

class ColumnsWidget {
  constructor(columns, changed) {
    this.fields = Object.entries(columns).map(([name, schema], number) => {
      const examples = schema.examples ?? [];
      const list = schema.type.includes("string") && !schema.format && `list-${number}`;
      const field = make("input", {
        type: "text", list, name, autocomplete: "off", spellcheck: "false",
        inputmode: schema.type.includes("number") ? "decimal" : null,
        placeholder: examples.length ? `e.g. ${examples[0]}` : "",
        oninput: () => changed({now: false}),
      });
      const choices = list && make("datalist", {id: list},
        ...examples.map((value) => make("option", {value})));
      return {name, field, label: make("label", {}, name, field, choices || null)};
    });
    this.element = make("div", {class: "fields"}, ...this.fields.map((one) => one.label));
  }

  values() {
    const filled = this.fields.filter((one) => one.field.value.trim());
    return filled.map((one) => [`.${one.name}`, one.field.value]);
  }

  get label() {
    return this.values().map(([path, value]) => `${path.slice(1)} ${value}`).join(", ");
  }
}

class FileWidget {
  constructor({accept, noun}, about, title, changed) {
    Object.assign(this, {changed, file: null, device: null, turn: 0});
    this.media = accept.split("/")[0]; // "image", "audio" and "video" are what browsers can show
    this.picker = make("input", {type: "file", accept, "aria-label": `Choose ${title}`,
      onchange: () => this.picker.files[0] && this.take(this.picker.files[0]),
      onclick: () => { this.picker.value = ""; }});
    this.view = make("div", {class: "view"});
    this.note = make("p", {class: "quiet", role: "status"});
    this.remove = make("button", {type: "button", hidden: true, onclick: () => this.clear()}, "Remove");
    this.hint = make("p", {class: "quiet"}, `Drop ${noun} here`);
    this.element = make("div", {class: "drop", title: about}, this.view, this.hint,
      make("div", {class: "row"}, make("label", {class: "button"}, `Choose ${noun}`, this.picker),
        this.deviceButton(), this.remove),
      this.note);
    this.listen();
  }

  deviceButton() {
    if (!navigator.mediaDevices) return null; // browsers offer them to https and localhost only
    if (this.media === "image") {
      return make("button", {type: "button", onclick: () => this.camera()}, "Use camera");
    }
    if (this.media === "audio") {
      this.recordButton = make("button", {type: "button", onclick: () => this.record()}, "Record");
      return this.recordButton;
    }
    return null;
  }

  listen() {
    const {element} = this;
    const over = (on) => element.classList.toggle("over", on);
    element.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    element.addEventListener("dragleave", () => over(false));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      if (event.dataTransfer.files[0]) this.take(event.dataTransfer.files[0]);
    });
  }

  // Switch off a camera or microphone that is on.
  release() {
    this.turn++;
    this.device?.();
    this.device = null;
  }

  // An opened device, or null if it was released while the user was asked for permission.
  async opened(open, close) {
    this.release();
    const turn = this.turn;
    const device = await open();
    if (turn === this.turn) return device;
    close(device);
    return null;
  }

  take(file) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(file);
    this.set(file);
    this.preview();
  }

  clear() {
    this.picker.value = "";
    URL.revokeObjectURL(this.url);
    this.view.replaceChildren();
    this.set(null);
    this.picker.focus();
  }

  set(file) {
    this.release();
    this.file = file;
    this.hint.hidden = Boolean(file);
    this.remove.hidden = !file;
    this.note.textContent = file?.name ?? "";
    this.element.classList.toggle("filled", Boolean(file));
    this.changed({now: true, fresh: true});
  }

  preview() {
    const tag = {image: "img", audio: "audio", video: "video"}[this.media];
    const attributes = tag === "img" ? {alt: `The photo ${this.file.name}`} : {controls: true};
    const shown = tag && make(tag, {src: this.url, ...attributes});
    this.view.replaceChildren(...(shown ? [shown] : []));
    shown?.addEventListener("error", () => shown.remove()); // the server may still read it
  }

  async camera() {
    const stop = (stream) => stream.getTracks().forEach((track) => track.stop());
    let stream;
    try {
      stream = await this.opened(() =>
        navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}}), stop);
      if (!stream) return;
    } catch (error) {
      this.note.textContent = `Can't use the camera (${error.message || error.name}).`;
      return;
    }
    const video = make("video", {autoplay: true, muted: true, playsinline: true});
    video.srcObject = stream;
    const shoot = make("button", {type: "button", class: "main", onclick: () => {
      const canvas = make("canvas", {width: video.videoWidth, height: video.videoHeight});
      canvas.getContext("2d").drawImage(video, 0, 0);
      this.release();
      canvas.toBlob((blob) => this.take(new File([blob], stamped("photo", "jpg"), {type: "image/jpeg"})),
        "image/jpeg", 0.92);
    }}, "Take photo");
    const cancel = make("button", {type: "button", onclick: () => {
      this.release();
      this.file ? this.preview() : this.view.replaceChildren();
    }}, "Cancel");
    const bar = make("div", {class: "row"}, shoot, cancel);
    this.device = () => { stop(stream); bar.remove(); };
    this.view.replaceChildren(video);
    this.view.after(bar);
    shoot.focus();
  }

  async record() {
    if (this.recording) return this.take(this.recording.file());
    const label = (text, live) => {
      this.recordButton.textContent = text;
      this.recordButton.classList.toggle("live", live);
    };
    try {
      const recording = await this.opened(record, (late) => late.stop());
      if (!recording) return;
      this.recording = recording;
      this.device = () => {
        this.recording.stop();
        this.recording = null;
        label("Record", false);
      };
      label("Stop recording", true);
      this.note.textContent = "Recording…";
    } catch (error) {
      this.note.textContent = `Can't use the microphone (${error.message || error.name}).`;
    }
  }

  values() {
    return this.file ? [["", this.file]] : [];
  }

  get label() {
    return this.file?.name ?? "";
  }
}
