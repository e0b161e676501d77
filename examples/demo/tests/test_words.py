import unittest

from calc.words import GREETINGS


class Test(unittest.TestCase):
    def test_no_language_greets_twice(self):
        self.assertEqual(len(GREETINGS), len({language for language, _ in GREETINGS}))
