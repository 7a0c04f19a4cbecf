// Validates the OpenAPI document of its argument with two linters that know nothing of each other: Redocly's and
// Spectral's. Prints what they find, and fails if that is anything.
import { readFile } from "node:fs/promises";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import spectral from "@stoplight/spectral-core";
import { oas } from "@stoplight/spectral-rulesets";

const source = await readFile(process.argv[2], "utf8");

const config = await createConfig({
  extends: ["recommended-strict"],
  rules: {
    "info-license": "off", // that of the product, which this document is not about
  },
});
const found = (await lintFromString({ source, absoluteRef: "/openapi.json", config })).map(
  ({ ruleId, message, location }) => `redocly ${ruleId}: ${message} ${location[0]?.pointer}`,
);

const linter = new spectral.Spectral();
linter.setRuleset({
  extends: [[oas, "all"]],
  rules: {
    "info-contact": "off", // depends on the operator
    "info-license": "off", // as above
    "license-url": "off",
    "openapi-tags-alphabetical": "off", // they stand in the order in which one reads them
  },
});
found.push(
  ...(await linter.run(JSON.parse(source))).map(({ code, message, path }) => `spectral ${code}: ${message} ${path.join("/")}`),
);

found.forEach((line) => console.log(line));
process.exitCode = found.length > 0 ? 1 : 0;
