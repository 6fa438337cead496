// Reads a compose file as Docker Compose does, with the library that it reads with: schema, interpolation from
// the environment, profiles, consistency. Prints what is to be started as JSON. Needs no daemon.
//
//	compose compose.yaml [PROFILE…]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: compose FILE [PROFILE…]"))
	}
	options, err := cli.NewProjectOptions(os.Args[1:2], cli.WithOsEnv, cli.WithProfiles(os.Args[2:]))
	fail(err)
	project, err := options.LoadProject(context.Background())
	fail(err)
	text, err := json.Marshal(project)
	fail(err)
	fmt.Println(string(text))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
