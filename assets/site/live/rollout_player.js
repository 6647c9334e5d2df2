"use strict";
soundmind.labs.rollout_player = async () => soundmind.make("div", { class: "lab" });
