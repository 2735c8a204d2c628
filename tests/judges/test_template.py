"""What template.yaml must keep true about the versions of its functions."""

import re
import unittest

import template

# What a version of a function does not hold.
NOT_OF_A_VERSION = {
    "AutoPublishAlias",
    "DeploymentPreference",
    "Description",
    "Policies",
    "VersionDescription",
    "PermissionsBoundary",
    "CodeUri",
}


def references(value, conditions):
    """The names that a value refers to, also by the conditions that choose it."""
    match value:
        case {"Ref": name}:
            yield name
        case {"Sub": [text, values]}:
            yield from (name for name in re.findall(r"\$\{(\w+)", text) if name not in values)
            yield from references(values, conditions)
        case {"Sub": text}:
            yield from re.findall(r"\$\{(\w+)", text)
        case {"If": [condition, *choices]}:
            yield from references(conditions[condition], conditions)
            yield from references(choices, conditions)
        case {"Condition": name}:
            yield from references(conditions[name], conditions)
        case dict():
            for one in value.values():
                yield from references(one, conditions)
        case list():
            for one in value:
                yield from references(one, conditions)


class Versions(unittest.TestCase):
    def test_a_version_is_named_after_each_parameter_that_its_function_is_configured_with(self):
        whole = template.whole()
        shared = whole["Globals"]["Function"]
        published = []
        for name, resource in whole["Resources"].items():
            properties = resource.get("Properties", {})
            if "DeploymentPreference" not in properties:
                continue
            published.append(name)
            kept = [value for key, value in [*shared.items(), *properties.items()] if key not in NOT_OF_A_VERSION]
            configured = set(references(kept, whole["Conditions"])) & set(whole["Parameters"])
            condition, described, otherwise = properties["VersionDescription"]["If"]
            self.assertEqual((condition, otherwise), ("DeploysGradually", {"Ref": "AWS::NoValue"}))
            self.assertEqual(set(references(described, {})), configured, name)
            # A version of what has not changed is refused, so what names it anew must change the function.
            self.assertEqual(properties["Description"]["If"][:2], [condition, described], name)
        self.assertEqual(published, ["EventProcessorFunction", "ApiFunction"])

    def test_the_mapping_and_the_condition_say_the_same_of_each_preference(self):
        whole = template.whole()
        gradual = {name: one["IsGradual"] == "true" for name, one in whole["Mappings"]["Deployments"].items()}
        self.assertEqual(list(gradual), whole["Parameters"]["DeploymentPreference"]["AllowedValues"])
        self.assertEqual(whole["Conditions"]["DeploysGradually"], {"Not": [{"Equals": [{"Ref": "DeploymentPreference"}, "off"]}]})
        self.assertEqual([name for name, is_gradual in gradual.items() if not is_gradual], ["off"])


if __name__ == "__main__":
    unittest.main()
