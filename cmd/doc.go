// Package cmd is Tailfold's command line. A team's own binary is its projections and one call:
//
//	func main() {
//		var registry projections.Registry
//		if err := registry.Add(customerTotals); err != nil {
//			log.Fatal(err)
//		}
//		cmd.Main(&registry)
//	}
//
// That binary has all commands of the stock one: run, status, get, drop, check, test, schema, version, completion. It reads
// the same configuration (docs/configuration.md), which may declare further projections beside the registry's.
package cmd
