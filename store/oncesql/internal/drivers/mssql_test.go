package drivers_test

import (
	"fmt"
	"testing"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/oncehq/once/store/oncesql"
)

// There is no SQL Server to ask. The errors are those of its driver, with the server's numbers
// and texts (sys.messages).
func TestDuplicateKnowsSQLServer(t *testing.T) {
	t.Parallel()
	for _, e := range []struct {
		number int32
		text   string
		want   string
		dup    bool
	}{
		{2627, "Violation of UNIQUE KEY constraint 'UQ_name'. Cannot insert duplicate key in object 'dbo.things'. " +
			"The duplicate key value is (it's).", "UQ_name", true},
		{2601, "Cannot insert duplicate key row in object 'dbo.things' with unique index 'IX_name'. " +
			"The duplicate key value is (x).", "IX_name", true},
		{2627, "in another language", "", true},
		{547, "The INSERT statement conflicted with the CHECK constraint 'CK_d'.", "", false},
	} {
		err := mssql.Error{Number: e.number, Message: e.text}
		for _, err := range []error{err, &err, fmt.Errorf("payment: %w", err)} {
			if got, dup := oncesql.Duplicate(err); got != e.want || dup != e.dup {
				t.Errorf("%v: got %q, %v, want %q, %v", err, got, dup, e.want, e.dup)
			}
		}
	}
}
