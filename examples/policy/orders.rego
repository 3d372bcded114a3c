# Who may do what with orders: a policy to start from (docs/policy.md).
#
#     policy_folder = "policy"                                            in rescind.toml, or
#     rescind bundle build policy.tar.gz --policy policy --sign policy.pem
package capiscio.policy

import rego.v1

# Every policy needs one: what is not allowed below is denied, and says so.
default decision := "DENY"

decision := "ALLOW" if level >= needed

level := to_number(input.subject.trust_level)

# A tool that data.json does not name needs the highest level.
default needed := 4

needed := data.levels[input.action.mcp_tool]

# Reading a resource names no tool.
needed := 1 if not input.action.mcp_tool

reason := sprintf("trust level %d; this needs %d", [level, needed]) if decision == "DENY"
