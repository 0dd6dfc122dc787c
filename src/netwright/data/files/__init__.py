"""Files below one place, safely: folders, archives read in place, arrays, plain pickles."""
