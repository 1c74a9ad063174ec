// What the model is given: a card for each input, made from what its modality says of the form and
// from its JSON Schema. Inputs that read the same column of a table share a card: they see the same
// text or photo.

import {make, stamped} from "./make.js";
import {record} from "./sound.js";

// The part of a schema that says what is wanted: null is allowed everywhere and says nothing.
function wanted(schema) {
  const kinds = (schema.anyOf ?? [schema]).filter((kind) => kind.type !== "null");
  return kinds.length === 1 && kinds[0].anyOf ? wanted(kinds[0]) : kinds[0];
}

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
    this.names = group.map((input) => input.name);
    this.used = new Set(this.names);
    const {form, schema} = group[0];
    const title = group.length > 1 ? group[0].column : group[0].name;
    this.isFile = form.widget === "file";
    this.isText = form.widget === "text";
    this.widget = widgetFor(form, wanted(schema), title, changed);
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
    return make("label", {class: "switch"}, box, this.names.length > 1 ? `use ${name}` : "use it");
  }

  // [path within a record, value] of what is there and used; file stands in for the own value.
  parts(file) {
    const values = file === undefined ? this.widget.values() : [["", file]];
    return [...this.used].flatMap((name) => values.map(([path, value]) => [name + path, value]));
  }

  get filled() {
    return this.widget.values().length > 0;
  }
}

function widgetFor(form, schema, title, changed) {
  if (form.widget === "file") return new FileWidget(form, schema.description, title, changed);
  if (form.widget === "columns") return new TableWidget(schema.properties, changed);
  return new TextWidget(title, changed);
}

class TextWidget {
  constructor(title, changed) {
    this.area = make("textarea", {"aria-label": title, placeholder: "Type here"});
    this.area.addEventListener("input", () => changed({now: false}));
    this.element = this.area;
  }

  values() {
    return this.area.value.trim() ? [["", this.area.value]] : [];
  }

  get label() {
    return this.area.value.trim().slice(0, 200);
  }
}

class TableWidget {
  constructor(columns, changed) {
    this.fields = Object.entries(columns).map(([name, schema], number) => {
      const listed = (schema.examples ?? []).map((example) => make("option", {value: example}));
      const list = schema.type.includes("string") && !schema.format && `list-${number}`;
      const field = make("input", {
        type: "text", list, name, autocomplete: "off", spellcheck: "false",
        inputmode: schema.type.includes("number") ? "decimal" : null,
        placeholder: schema.examples?.length ? `such as ${schema.examples[0]}` : "",
      });
      field.addEventListener("input", () => changed({now: false}));
      const choices = list ? make("datalist", {id: list}, ...listed) : null;
      return {name, field, label: make("label", {}, name, field, choices)};
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
  constructor({accept: media, noun}, about, title, changed) {
    Object.assign(this, {media, changed, file: null, device: null, turn: 0});
    // A media type that no browser knows would hide the files that are wanted.
    const accept = media === "application/octet-stream" ? null : media;
    this.picker = make("input", {type: "file", accept, "aria-label": `Choose ${title}`});
    this.picker.addEventListener("change", () => this.picker.files[0] && this.take(this.picker.files[0]));
    this.picker.addEventListener("click", () => { this.picker.value = ""; });
    this.view = make("div", {class: "view"});
    this.note = make("p", {class: "quiet", role: "status"});
    this.without = make("button", {type: "button", hidden: true, onclick: () => this.drop()}, "Remove");
    this.buttons = make("div", {class: "row"},
      make("label", {class: "button"}, `Choose ${noun}`, this.picker), this.deviceButton(), this.without);
    this.hint = make("p", {class: "quiet"}, `Drop ${noun} here`);
    this.element = make("div", {class: "drop", title: about}, this.view, this.hint, this.buttons,
      this.note);
    this.listen();
  }

  deviceButton() {
    if (!navigator.mediaDevices) return null; // they are there for https and this machine alone
    if (this.media === "image/*") {
      return make("button", {type: "button", onclick: () => this.camera()}, "Take one");
    }
    if (this.media === "audio/*") {
      this.recordButton = make("button", {type: "button", onclick: () => this.record()}, "Record");
      return this.recordButton;
    }
    return null;
  }

  listen() {
    const drop = this.element;
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files[0]) this.take(event.dataTransfer.files[0]);
    });
  }

  // Lets go of a camera or microphone that is on.
  release() {
    this.turn++;
    this.device?.();
    this.device = null;
  }

  // What is opened, or null where it was let go of while the user was asked whether it may be.
  async opened(open, close) {
    this.release();
    const turn = this.turn;
    const device = await open();
    if (turn === this.turn) return device;
    close(device);
    return null;
  }

  take(file) {
    this.release();
    this.file = file;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(file);
    this.preview();
    this.hint.hidden = true;
    this.without.hidden = false;
    this.note.textContent = file.name;
    this.element.classList.add("filled");
    this.changed({now: true, fresh: true});
  }

  drop() {
    this.release();
    this.file = null;
    this.picker.value = "";
    URL.revokeObjectURL(this.url);
    this.view.replaceChildren();
    this.hint.hidden = false;
    this.without.hidden = true;
    this.note.textContent = "";
    this.element.classList.remove("filled");
    this.picker.focus();
    this.changed({now: true, fresh: true});
  }

  preview() {
    const tag = {"image/*": "img", "audio/*": "audio", "video/*": "video"}[this.media];
    const attributes = tag === "img" ? {alt: `The photo: ${this.file.name}`} : {controls: true};
    this.view.replaceChildren(...(tag ? [make(tag, {src: this.url, ...attributes})] : []));
    const drawn = this.view.firstChild; // what the browser can't show, the server may yet read
    drawn?.addEventListener("error", () => drawn.remove());
  }

  async camera() {
    const stop = (stream) => stream.getTracks().forEach((track) => track.stop());
    let stream;
    try {
      stream = await this.opened(() =>
        navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}}), stop);
      if (!stream) return;
    } catch (error) {
      this.note.textContent = `No camera can be used (${error.message || error.name}).`;
      return;
    }
    const video = make("video", {autoplay: true, muted: true, playsinline: true});
    video.srcObject = stream;
    this.device = () => { stop(stream); bar.remove(); };
    const shoot = make("button", {type: "button", class: "main", onclick: async () => {
      const canvas = make("canvas", {width: video.videoWidth, height: video.videoHeight});
      canvas.getContext("2d").drawImage(video, 0, 0);
      this.release();
      canvas.toBlob((blob) => this.take(new File([blob], stamped("photo", "jpg"), {type: "image/jpeg"})),
        "image/jpeg", 0.92);
    }}, "Take the photo");
    const cancel = make("button", {type: "button", onclick: () => {
      this.release();
      this.file ? this.preview() : this.view.replaceChildren();
    }}, "Cancel");
    const bar = make("div", {class: "row"}, shoot, cancel);
    this.view.replaceChildren(video);
    this.view.after(bar);
    shoot.focus();
  }

  async record() {
    const button = this.recordButton;
    if (this.recording) {
      this.take(this.recording.file());
      return;
    }
    try {
      const recording = await this.opened(record, (late) => late.stop());
      if (!recording) return;
      this.recording = recording;
      this.device = () => {
        this.recording.stop();
        this.recording = null;
        button.textContent = "Record";
        button.classList.remove("live");
      };
      button.textContent = "Stop recording";
      button.classList.add("live");
      this.note.textContent = "Recording";
    } catch (error) {
      this.note.textContent = `No microphone can be used (${error.message || error.name}).`;
    }
  }

  values() {
    return this.file ? [["", this.file]] : [];
  }

  get label() {
    return this.file?.name ?? "";
  }
}
